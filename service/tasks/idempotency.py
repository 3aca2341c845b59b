"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07)."""

import hashlib
import re

from litestar.exceptions import ClientException

from service.tasks.model import NewTask, encode
from service.tasks.store import Idempotency

KEY = re.compile(r"[ !#-~]{1,255}")


def idempotency(key: str | None, new: NewTask) -> Idempotency | None:
    """Parses the header's value, with or without quotes. Raises 400."""
    if key is None:
        return None
    bare = key.strip()
    if len(bare) > 1 and bare[0] == bare[-1] == '"':
        bare = bare[1:-1]
    if not KEY.fullmatch(bare):
        raise ClientException(detail="Idempotency-Key: give 1 to 255 printable ASCII characters without quotes")
    return Idempotency(bare, hashlib.sha256(encode(new)).hexdigest())
