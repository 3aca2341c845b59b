"""Validates responses: which are expected, and why others are not."""

from http import HTTPStatus

import msgspec
from msgspec import Struct

from lab.load.connection import Answer, FailedRequestError
from lab.load.requests import Operation
from lab.runs.tally import Kind

SUCCESS = {
    Operation.CREATE: HTTPStatus.CREATED,
    Operation.LIST: HTTPStatus.OK,
    Operation.READ: HTTPStatus.OK,
    Operation.CHANGE: HTTPStatus.OK,
    Operation.DELETE: HTTPStatus.NO_CONTENT,
}
SHOWN_BYTES = 160


class Task(Struct, frozen=True):
    """The fields of a task that are checked."""

    id: str
    task: str


class Page(Struct, frozen=True):
    """The fields of a list of tasks that are checked."""

    items: list[Task]


_decode_task = msgspec.json.Decoder(Task).decode
_decode_page = msgspec.json.Decoder(Page).decode


def check_success(operation: Operation, answer: Answer, task_id: str = "", text: str = "") -> None:
    """Checks that a 2xx response is complete and correct. Raises `FailedRequestError`.

    `task_id` is the requested task; `text` what was written, if anything.
    """
    if operation is Operation.DELETE:
        return
    if not answer.body:
        raise FailedRequestError(Kind.EMPTY, f"status {answer.status}", answer.status)
    try:
        if operation is Operation.LIST:
            _decode_page(answer.body)
            return
        task = _decode_task(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        shown = answer.body[:SHOWN_BYTES].decode(errors="replace")
        raise FailedRequestError(Kind.NOT_JSON, f"{error}: {shown!r}", answer.status) from error
    if operation is Operation.CREATE:
        location = answer.header("location")
        if not location:
            raise FailedRequestError(Kind.NO_LOCATION, f"status {answer.status}", answer.status)
        task_id = location.rsplit("/", 1)[-1]
    if task.id != task_id:
        raise FailedRequestError(Kind.OTHER_TASK, f"{task.id} instead of {task_id}", answer.status)
    if text and task.task != text:
        raise FailedRequestError(Kind.OTHER_TASK, f"{task.task!r} instead of {text!r}", answer.status)


def unexpected(answer: Answer) -> FailedRequestError:
    """The failure for an unexpected status."""
    location = answer.header("location")
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return FailedRequestError(Kind.REDIRECT, f"status {answer.status} to {location or 'nowhere'}", answer.status)
    shown = answer.body[:SHOWN_BYTES].decode(errors="replace")
    return FailedRequestError(f"status {answer.status}", shown or "no body", answer.status)
