"""The routes of the todo API."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Router, delete, get, patch, post
from litestar.exceptions import ClientException, HTTPException, NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import Body, Parameter
from litestar.types import ASGIApp

from service.entity_tags import is_of, versions
from service.options import options
from service.problems import Problem
from service.tasks.answers import JsonAnswer, conflict
from service.tasks.idempotency import idempotency
from service.tasks.model import NewTask, Task, TaskChange, TaskPage, encode
from service.tasks.negotiation import negotiate
from service.tasks.repository import StoredPage, StoredTask, TaskRepository
from service.tasks.store import KeyConflict, VersionConflict

CURSOR = "^[0-9a-f]{32}$"
# the expected version if If-Match contains none; not 0, since the version after 0 is that of a new task
NO_VERSION = -1

TaskId = Annotated[
    str,
    Parameter(description="The task's id, a UUID.", examples=[Example(value="0193a5f0-7c1e-7d3a-9b1f-2f6c8e4d5a6b")]),
]
IfMatch = Annotated[
    str | None,
    Parameter(
        header="If-Match",
        required=False,
        description="The ETag that the task must still have; otherwise 412.",
        examples=[Example(value='"1"')],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Parameter(
        header="If-None-Match",
        required=False,
        description="The ETag of the copy that the client has; if it is current, 304.",
    ),
]
IfNoneMatchOfWrite = Annotated[
    str | None,
    Parameter(
        header="If-None-Match",
        required=False,
        description="An ETag that the task must not have, or `*` for a task that must not be there; otherwise 412.",
    ),
]
# printable ASCII without quotes, or the same in quotes
IDEMPOTENCY_KEY = r'^([!#-~]([ !#-~]{0,253}[!#-~])?|"[ !#-~]{1,255}")$'
IdempotencyKey = Annotated[
    str | None,
    Parameter(
        header="Idempotency-Key",
        required=False,
        pattern=IDEMPOTENCY_KEY,
        description="Makes the request safe to repeat: with the same key, up to 255 characters of the client's own "
        "making (a UUID), it creates one task.",
    ),
]


def _problem(description: str) -> ResponseSpec:
    return ResponseSpec(
        data_container=Problem,
        description=description,
        media_type="application/problem+json",
        generate_examples=False,
    )


BAD = {400: _problem("The request cannot be read."), 406: _problem("Only JSON is offered.")}
BAD_BODY = {
    408: _problem("The body did not arrive in time."),
    413: _problem("The body is larger than 64 KiB."),
    415: _problem("The body is not said to be JSON."),
    422: _problem("The body does not fit."),
}
UNKNOWN = {404: _problem("There is no such task.")}
CONFLICT = {412: _problem("The task is not at a version that If-Match or If-None-Match asks for.")}
BUSY = {
    429: _problem("The client's rate limit is used up; Retry-After says for how long."),
    500: _problem("The service failed."),
    503: _problem(
        "The database does not answer, or too many requests are in flight; Retry-After says when to come again."
    ),
}


def task_routes(tasks: TaskRepository) -> Router:
    """The routes under `/tasks`."""

    @post(
        "/",
        responses={
            201: ResponseSpec(data_container=Task, description="The task, at its Location.", generate_examples=False),
            **BAD,
            **BAD_BODY,
            **BUSY,
        },
        summary="Create a task",
    )
    async def create_task(
        data: Annotated[NewTask, Body(examples=[Example(value={"task": "Water the plants"})])],
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIApp:
        try:
            task = await tasks.create(data, idempotency(idempotency_key, data))
        except KeyConflict as error:
            raise HTTPException(status_code=422, detail="Idempotency-Key was used for another task") from error
        location = (b"location", b"/tasks/%b" % str(task.id).encode())
        return JsonAnswer(encode(task), location, version=task.version, status=201)

    @get(
        "/",
        responses={
            200: ResponseSpec(
                data_container=TaskPage, description="A page of tasks, newest first.", generate_examples=False
            ),
            **BAD,
            **BUSY,
        },
        summary="List tasks",
    )
    async def list_tasks(
        limit: Annotated[int, Parameter(ge=1, le=100, required=False, description="How many tasks at the most.")] = 20,
        cursor: Annotated[
            str | None,
            Parameter(required=False, pattern=CURSOR, description="Where to go on: `next` of the page before."),
        ] = None,
        done: Annotated[
            bool | None, Parameter(required=False, description="Only tasks that are done, or are not.")
        ] = None,
    ) -> ASGIApp:
        page = await (tasks.first_page(limit, done) if cursor is None else tasks.page(limit, _cursor(cursor), done))
        return JsonAnswer(page.body, *_warning(page))

    @get(
        "/{task_id:str}",
        responses={
            200: ResponseSpec(data_container=Task, description="The task.", generate_examples=False),
            304: ResponseSpec(data_container=None, description="The client's copy is current."),
            **BAD,
            **UNKNOWN,
            **CONFLICT,
            **BUSY,
        },
        summary="Read a task",
    )
    async def read_task(task_id: TaskId, if_none_match: IfNoneMatch = None) -> ASGIApp:
        task = await tasks.get(_id(task_id))
        if task is None:
            raise unknown(task_id)
        return JsonAnswer(task.body, *_warning(task), version=task.version, if_none_match=if_none_match)

    @patch(
        "/{task_id:str}",
        responses={
            200: ResponseSpec(data_container=Task, description="The task as changed.", generate_examples=False),
            **BAD,
            **BAD_BODY,
            **UNKNOWN,
            **CONFLICT,
            **BUSY,
        },
        summary="Change a task",
    )
    async def change_task(
        task_id: TaskId,
        data: Annotated[TaskChange, Body(examples=[Example(value={"done": True})], schema_extra={"min_properties": 1})],
        if_match: IfMatch = None,
        if_none_match: IfNoneMatchOfWrite = None,
    ) -> ASGIApp:
        wanted = _id(task_id)
        if not data.values():
            raise HTTPException(status_code=422, detail="nothing is to be changed: give task, done or both")
        try:
            task = await tasks.change(wanted, data, await _expected(tasks, wanted, if_match, if_none_match))
        except VersionConflict as error:
            raise conflict() from error
        if task is None:
            raise unknown(task_id)
        return JsonAnswer(encode(task), version=task.version)

    @delete(
        "/{task_id:str}",
        status_code=204,
        responses={
            204: ResponseSpec(data_container=None, description="The task is gone."),
            **BAD,
            **UNKNOWN,
            **CONFLICT,
            **BUSY,
        },
        summary="Delete a task",
    )
    async def delete_task(
        request: Request[Any, Any, Any],
        task_id: TaskId,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatchOfWrite = None,
    ) -> None:
        wanted = _id(task_id)
        request_id = request.headers.get("x-request-id", "")[:128]
        try:
            is_deleted = await tasks.delete(wanted, await _expected(tasks, wanted, if_match, if_none_match), request_id)
        except VersionConflict as error:
            raise conflict() from error
        if not is_deleted:
            raise unknown(task_id)

    return Router(
        "/tasks",
        route_handlers=[
            options("/", "GET", "HEAD", "POST"),
            options("/{task_id:str}", "GET", "HEAD", "PATCH", "DELETE"),
            create_task,
            list_tasks,
            read_task,
            change_task,
            delete_task,
        ],
        before_request=negotiate,
        tags=["tasks"],
    )


def _warning(stored: StoredTask | StoredPage) -> tuple[tuple[bytes, bytes], ...]:
    """The header of a response that may be stale (RFC 7234, 5.5.1)."""
    return ((b"warning", b'110 - "Response is Stale"'),) if stored.is_stale else ()


def unknown(task_id: str) -> NotFoundException:
    """The error for an id that no task has."""
    return NotFoundException(detail=f"there is no task {task_id[:64]}")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise unknown(text) from None


def _cursor(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError:
        raise ClientException(detail="cursor: give the `next` of a page, as it is") from None


async def _expected(
    tasks: TaskRepository, task_id: UUID, if_match: str | None, if_none_match: str | None
) -> int | None:
    """The version that the task must have for a write; None for any (RFC 9110, 13.2.2)."""
    if if_none_match is not None:
        current = await tasks.get(task_id)
        if current is None:
            return None
        if if_none_match.strip() == "*" or current.version in versions(if_none_match, weakly=True):
            return NO_VERSION
        # exactly the version that was checked: another writer may change it to one that is excluded
        return current.version if if_match is None or is_of(current.version, if_match) else NO_VERSION
    if if_match is None or if_match.strip() == "*":
        return None
    named = versions(if_match)
    if len(named) == 1:
        return named.pop()
    # of several tags the one that matches the current version; a tag that this service never produced matches none
    current = await tasks.get(task_id) if named else None
    return current.version if current is not None and current.version in named else NO_VERSION
