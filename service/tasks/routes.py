"""The routes of the todo API."""

import re
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import HttpMethod, Request, Response, Router, delete, get, patch, post, route
from litestar.datastructures.headers import Accept
from litestar.exceptions import ClientException, HTTPException, NotFoundException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import Body, Parameter
from litestar.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem
from service.tasks.model import NewTask, Task, TaskChange, TaskPage, encode
from service.tasks.repository import StoredTask, TaskRepository

JSON = (b"content-type", b"application/json")
OFFERED = ["application/json", "application/problem+json"]
DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "POST": msgspec.json.Decoder(NewTask),
    "PATCH": msgspec.json.Decoder(TaskChange),
}
CURSOR = "^[0-9a-f]{32}$"
ETAG = re.compile(r'"([0-9]{1,9})"')
# what an If-Match asks for that names none; not 0, after which a new task's version would come
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
CONFLICT = {412: _problem("The task is no longer at the version that If-Match names.")}
BUSY = {
    429: _problem("The client's rate limit is used up; Retry-After says for how long."),
    500: _problem("The service failed."),
    503: _problem(
        "The database does not answer, or too many requests are in flight; Retry-After says when to come again."
    ),
}


class JsonAnswer:
    """An answer whose JSON is at hand already.

    Litestar's own Response costs a third of a cached read (it encodes, merges headers and cookies); this sends bytes.
    """

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
        self._body = body
        self._headers = [JSON, (b"content-length", b"%d" % len(body)), *headers]
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


class NotModified:
    """The answer to a client whose copy is current."""

    def __init__(self, version: int) -> None:
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        await send({"type": "http.response.start", "status": 304, "headers": [etag(self._version)]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


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
    ) -> ASGIApp:
        task = await tasks.create(data)
        location = (b"location", b"/tasks/%b" % str(task.id).encode())
        return JsonAnswer(encode(task), location, etag(task.version), status=201)

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
        if cursor is None:
            return JsonAnswer(await tasks.first_page(limit, done))
        return JsonAnswer(await tasks.page(limit, _cursor(cursor), done))

    @get(
        "/{task_id:str}",
        responses={
            200: ResponseSpec(data_container=Task, description="The task.", generate_examples=False),
            304: ResponseSpec(data_container=None, description="The client's copy is current."),
            **BAD,
            **UNKNOWN,
            **BUSY,
        },
        summary="Read a task",
    )
    async def read_task(task_id: TaskId, if_none_match: IfNoneMatch = None) -> ASGIApp:
        task = await tasks.get(_id(task_id))
        if task is None:
            raise unknown(task_id)
        if if_none_match is not None and _names(if_none_match, task.version, weakly=True):
            return NotModified(task.version)
        return JsonAnswer(task.body, etag(task.version))

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
    ) -> ASGIApp:
        wanted = _id(task_id)
        if not data.values():
            raise HTTPException(status_code=422, detail="nothing is to be changed: give task, done or both")
        task = await tasks.change(wanted, data, await _expected(tasks, wanted, if_match))
        if task is None:
            raise unknown(task_id)
        return JsonAnswer(encode(task), etag(task.version))

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
    ) -> None:
        wanted = _id(task_id)
        request_id = request.headers.get("x-request-id", "")[:128]
        if not await tasks.delete(wanted, await _expected(tasks, wanted, if_match), request_id):
            raise unknown(task_id)

    return Router(
        "/tasks",
        route_handlers=[
            _options("/", "GET", "POST"),
            _options("/{task_id:str}", "GET", "PATCH", "DELETE"),
            create_task,
            list_tasks,
            read_task,
            change_task,
            delete_task,
        ],
        before_request=negotiate,
        tags=["tasks"],
    )


def _options(path: str, *methods: str) -> HTTPRouteHandler:
    """A handler for OPTIONS, since Litestar's own names only the first method of a path."""

    @route(path, http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False, sync_to_thread=False)
    def tell() -> Response[None]:
        return Response(None, headers={"Allow": ", ".join((*methods, "OPTIONS"))})

    return tell


async def negotiate(request: Request[Any, Any, Any]) -> None:
    """Raises 406 for a client that takes no JSON, 415 for a body that is said to be something else, 422 for none."""
    for name, value in request.scope["headers"]:
        if name == b"accept" and not _takes_json(value.decode("latin-1")):
            raise HTTPException(status_code=406, detail="only application/json is offered")
        if name == b"content-type" and request.method in ("POST", "PATCH") and not _is_json(value):
            raise HTTPException(status_code=415, detail="the body must be application/json")
    if request.method in DECODERS:
        _check_types(await request.body(), DECODERS[request.method])


def _check_types(body: bytes, decoder: msgspec.json.Decoder[Any]) -> None:
    """Raises `ValidationException` where a field has another type, since Litestar takes 1 and "true" for a boolean."""
    if not body:
        raise HTTPException(status_code=422, detail="there is no body")
    try:
        decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$")
        key = at.strip("`.") or "data"
        raise ValidationException(extra=[{"message": message, "key": key, "source": "body"}]) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # no JSON: Litestar says so


@lru_cache(1000)
def _takes_json(accept: str) -> bool:
    return not accept.strip() or Accept(accept).best_match(OFFERED) is not None


@lru_cache(1000)
def _is_json(content_type: bytes) -> bool:
    return content_type.split(b";")[0].strip().lower() == b"application/json"


def etag(version: int) -> tuple[bytes, bytes]:
    """The ETag of a task: its version."""
    return b"etag", b'"%d"' % version


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


def _names(condition: str, version: int, *, weakly: bool = False) -> bool:
    """Whether an If-Match or If-None-Match names a version (RFC 9110, 13.1)."""
    if condition.strip() == "*":
        return True
    tags = [tag.strip() for tag in condition.split(",")]
    return f'"{version}"' in tags or (weakly and f'W/"{version}"' in tags)


async def _expected(tasks: TaskRepository, task_id: UUID, if_match: str | None) -> int | None:
    """The version that a write must find, None for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    if "," not in if_match:
        one = ETAG.fullmatch(if_match.strip())
        # an ETag that this service never made matches no version
        return (int(one[1]) or NO_VERSION) if one else NO_VERSION
    current: StoredTask | None = await tasks.get(task_id)
    return current.version if current is not None and _names(if_match, current.version) else NO_VERSION
