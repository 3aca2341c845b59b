"""The Locust user: sends one request at a time, and checks the response."""

from http import HTTPStatus
from typing import ClassVar

import msgspec
from locust import User, task

from lab.load.connection import Answer, Connection, FailedRequestError
from lab.load.expected import SUCCESS, check_success, unexpected
from lab.load.requests import Operation, Request
from lab.load.worker import Due, Worker

encode = msgspec.json.Encoder().encode


class TodoUser(User):
    """Repeatedly takes the next due request, sends it, and checks the response."""

    worker: ClassVar[Worker]

    def on_start(self) -> None:
        """Starts without connections."""
        self._connections: dict[int, Connection] = {}

    def on_stop(self) -> None:
        """Closes its connections."""
        for connection in self._connections.values():
            connection.close()

    @task
    def send_next(self) -> None:
        """Sends one request."""
        due = self.worker.take()
        request = due.request = self._with_known_task(due.request)
        try:
            answer = self._ask(due, request)
            status = answer.status
            self._check(request, answer)
        except FailedRequestError as error:
            self.worker.failed(due, str(error.kind), str(error), error.status)
        else:
            self.worker.answered(due, status)

    def _connection(self, client: int) -> Connection:
        if client not in self._connections:
            self._connections[client] = Connection(self.worker.address_of(client))
        return self._connections[client]

    def _with_known_task(self, request: Request) -> Request:
        tasks = self.worker.tasks
        if request.operation in (Operation.CREATE, Operation.LIST) or tasks.knows(request.task):
            return request
        operation = Operation.READ if request.operation is Operation.DELETE else request.operation
        return request._replace(operation=operation, task=tasks.known(request.task))

    def _ask(self, due: Due, request: Request) -> Answer:
        operation, tasks = request.operation, self.worker.tasks
        path, body, headers = "/tasks", b"", ""
        if operation is Operation.LIST:
            path = f"/tasks?limit={20 if len(request.text) % 5 else 50}"
        elif operation is not Operation.CREATE:
            path = tasks.path(request.task)
        if operation in (Operation.CREATE, Operation.CHANGE):
            body = encode({"task": request.text})
        if operation is Operation.CHANGE:
            headers = f"If-Match: {tasks.etag(request.task)}\r\n"
        if operation is Operation.DELETE:
            tasks.deleting(request.task)
        deadline = due.moment + self.worker.answer_seconds
        return self._connection(request.client).ask(operation.method, path, body, headers, deadline, due.sent)

    def _check(self, request: Request, answer: Answer) -> None:
        status, tasks, operation = answer.status, self.worker.tasks, request.operation
        if status == SUCCESS[operation]:
            text = request.text if operation in (Operation.CREATE, Operation.CHANGE) else ""
            known = "" if operation in (Operation.CREATE, Operation.LIST) else tasks.id(request.task)
            check_success(operation, answer, known, text)
            if operation is Operation.CREATE:
                tasks.created(request.task, answer.header("location"), answer.header("etag"))
            elif operation in (Operation.READ, Operation.CHANGE):
                tasks.seen(request.task, answer.header("etag"))
            return
        lost_update = status == HTTPStatus.PRECONDITION_FAILED and operation is Operation.CHANGE
        deleted = status == HTTPStatus.NOT_FOUND and tasks.may_be_deleted(request.task)
        abuser = status == HTTPStatus.TOO_MANY_REQUESTS and request.client == 0 and self.worker.has_abuser
        if not (lost_update or deleted or abuser):
            raise unexpected(answer)
