"""The keys that a worker accepts: those of the settings, and those that are published in the folder of keys.

A request costs one `stat`, one HMAC and one look into a dictionary, whether its key is known or not: no file and no
database is read unless a key has changed. Nothing is ever written back from here.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from argoproxy.errors import ProxyError, StateUnavailable
from argoproxy.protocol.access.auth import Key, Principal, drop_keys, find_holder, read_keys, refusal
from argoproxy.protocol.access.secrets import (
    CREDENTIAL_HEADERS,
    Secret,
    credentials_in_query,
    drop_secrets,
    secrets_in_header,
)
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.keys.key_index import KeyIndex
from argoproxy.protocol.keys.key_token import digest_of, tokens_in, without_tokens
from argoproxy.stores.keys import key_files

logger = logging.getLogger("argoproxy")

#: Inode, time and size of the snapshot.
SnapshotStamp = tuple[int, int, int]


class KeyRing:
    """A RequestAuthenticator of managed and static keys. Threads share it; each process creates its own."""

    def __init__(self, folder: Path, static: Sequence[Key], clock: Callable[[], float] = time.time) -> None:
        """`static` are the keys of the settings."""
        self._folder = folder
        self._path = str(folder / key_files.SNAPSHOT)
        self._static = static
        self._clock = clock
        self._lock = threading.Lock()
        self._index, self._pepper = KeyIndex(), b""
        self._stamp: SnapshotStamp = (0, 0, 0)
        self.refresh()

    def authenticate(self, headers: Headers) -> Principal:
        sent = read_keys(headers)
        self.refresh()
        found = (find_holder(sent, self._static) if self._static else None) or self._find(sent)
        if found is None:
            raise self._refuse()
        return found

    def without_credentials(self, headers: Headers) -> Headers:
        left = without_tokens(headers)
        return drop_keys(left, [*self._static, *self._foreign_keys(left)])

    def query_without_credentials(self, query: str) -> str:
        if not query:
            return query
        named = (text for text in credentials_in_query(query) if self._is_ours(text))
        return drop_secrets(query, [*(key.secret.text for key in self._static), *tokens_in(query), *named])

    def find_fault(self) -> str:
        """Return why every managed key is refused; "" if none is for such a reason."""
        self.refresh()
        if self._index.is_withdrawn:
            return "The keys could not be compared with their database for too long."
        return "" if self._pepper else "No keys could be read since this process started."

    def refresh(self) -> None:
        """Read the keys again if they have changed. If they can't be read, those that are known stay."""
        stamp = self._read_stamp()
        if stamp is None or stamp == self._stamp:
            return
        with self._lock:
            if stamp == self._stamp:
                return
            try:
                pepper = key_files.read_pepper(self._folder)
                self._index, self._pepper = key_files.read_snapshot(self._folder), pepper
            except (OSError, ValueError, StateUnavailable) as error:
                logger.warning("code=keys_not_read: the keys known before stay valid: %s", error)
            # After the keys: a thread that sees this stamp sees them too.
            self._stamp = stamp

    def _refuse(self) -> ProxyError:
        """Return the error for a caller whose key is not known; another one where no key can be."""
        if self._index.is_withdrawn:
            return StateUnavailable("The keys can't be checked now; try again later.")
        return refusal()

    def _find(self, sent: Sequence[bytes]) -> Principal | None:
        now, pepper = self._clock(), self._pepper
        for token in sent:
            if token and pepper and (found := self._index.find(digest_of(pepper, token), now)):
                return found
        return None

    def _foreign_keys(self, headers: Headers) -> list[Key]:
        """Return the keys in headers that were made elsewhere, and are known here."""
        credentials = [header for header in headers if header[0].lower() in CREDENTIAL_HEADERS]
        if not credentials:
            return []
        known = {text for header in credentials for text in secrets_in_header(*header) if self._is_ours(text)}
        return [Key("", Secret(text)) for text in known]

    def _is_ours(self, text: str) -> bool:
        return self._find([text.encode("utf-8", "surrogatepass")]) is not None

    def _read_stamp(self) -> SnapshotStamp | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


class AdminAccess:
    """Authenticates requests that manage keys, by a key of their own."""

    def __init__(self, secret: Secret) -> None:
        self._keys = (Key("admin", secret),)

    def authenticate(self, headers: Headers) -> Principal:
        """Return the administrator. Raises AuthenticationError."""
        found = find_holder(read_keys(headers), self._keys)
        if found is None:
            raise refusal()
        return found
