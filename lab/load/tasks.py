"""A worker's knowledge of tasks: their ids and ETags."""


class Tasks:
    """Ids and ETags by the task's number in the request stream."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._etags: dict[int, str] = {}
        self._deleted: set[int] = set()
        self._prepared = 0

    def prepared(self, tasks: list[tuple[str, str]]) -> None:
        """Prepared tasks have the numbers from 0."""
        self._prepared = len(tasks)
        for number, (task_id, etag) in enumerate(tasks):
            self._ids[number] = task_id
            self._etags[number] = etag

    def known(self, number: int) -> int:
        """The number itself, or that of a prepared task if its creation failed or has no response yet."""
        return number if number in self._ids else number % self._prepared

    def knows(self, number: int) -> bool:
        """Whether its id is known."""
        return number in self._ids

    def id(self, number: int) -> str:
        """Its id."""
        return self._ids[number]

    def path(self, number: int) -> str:
        """The path of the task."""
        return f"/tasks/{self._ids[number]}"

    def etag(self, number: int) -> str:
        """Its last known ETag."""
        return self._etags[number]

    def seen(self, number: int, etag: str) -> None:
        """Sets the ETag of a response."""
        self._etags[number] = etag

    def created(self, number: int, location: str, etag: str) -> None:
        """Sets the location of a created task."""
        self._ids[number] = location.rsplit("/", 1)[-1]
        self._etags[number] = etag

    def deleting(self, number: int) -> None:
        """Marks a task whose deletion is being sent: from now on it may not exist."""
        self._deleted.add(number)

    def may_be_deleted(self, number: int) -> bool:
        """Whether its deletion was sent."""
        return number in self._deleted
