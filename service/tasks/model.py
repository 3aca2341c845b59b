"""A task, and the bodies that clients send to create or change one."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

TaskText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        # PostgreSQL stores no NUL character
        pattern=r"^[^\u0000]*$",
        description="What is to be done, 1 to 500 characters.",
        examples=["Water the plants"],
    ),
]


class Task(Struct, frozen=True):
    """A task as it is stored and returned. `version` starts at 1 and increases by one with each change."""

    id: UUID
    task: str
    done: bool
    version: int
    created_at: datetime
    updated_at: datetime


class NewTask(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that creates a task."""

    task: TaskText
    done: bool = False


class TaskChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that changes a task. Omitted fields keep their value."""

    task: TaskText | UnsetType = UNSET
    done: bool | UnsetType = UNSET

    def values(self) -> dict[str, str | bool]:
        """The fields to change, by name."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}


class TaskPage(Struct, frozen=True):
    """A page of tasks, newest first. `next` is the cursor of the next page, null on the last."""

    items: list[Task]
    next: str | None


encode = msgspec.json.Encoder().encode
