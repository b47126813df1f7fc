"""What a span says of a Redis server and of a command on it, worked out once and remembered.

Names: https://opentelemetry.io/docs/specs/semconv/db/redis/. ``db.namespace`` is the database index that the
connection was made with: a later SELECT is not followed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.fixed import Fixed
from spanwise.instrumentors._database import Conventions
from spanwise.privacy.redis import Command, describe

__all__ = ["Described", "Target", "is_script", "status_code"]

Attributes = Mapping[str, AttributeValue]
Key = tuple[object, ...]

_SYSTEM: Final = "redis"
_PORT: Final = 6379
# Commands of one target that are remembered, and as many pipelines, some 2 kB each. An application has some
# dozens.
_MEMO: Final = 256
# Distinct commands in a pipeline's summary, and queued ones in its text: what a reader takes in.
_SUMMARY_COMMANDS: Final = 16
_TEXT_COMMANDS: Final = 64

# These wait for data as long as they are told to (https://redis.io/docs/latest/commands/).
_BLOCKING: Final = frozenset(
    ["BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "WAIT", "WAITAOF"]
)
_BLOCKING_IF_ASKED: Final = frozenset(("XREAD", "XREADGROUP"))
_NAMED_SCRIPTS: Final = frozenset(("EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"))
_SCRIPTS: Final = _NAMED_SCRIPTS | {"EVAL", "EVAL_RO"}
# A digest, or a function's name as Redis allows it. Anything else is not written.
_SCRIPT_NAME: Final = re.compile(r"\w{1,64}", re.ASCII)
_CODE: Final = re.compile(
    r"(?:Command # \d+ \(.*\) of pipeline caused error: )?([A-Z][A-Z0-9_]{2,31})(?: |\Z)", re.S
)

# redis-py strips these prefixes of an error, and says them by the class; its newer versions have
# `status_code`. Its parser's table, EXCEPTION_CLASSES, has the same pairs.
_CODES: Final = {
    "AskError": "ASK",
    "AuthenticationWrongNumberOfArgsError": "ERR",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "ModuleError": "ERR",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}


class Described:
    """Name, attributes and labels, the same for every call of its kind."""

    __slots__ = ("attributes", "labels", "name")

    def __init__(self, name: str, attributes: Fixed, labels: Fixed | None) -> None:
        self.name = name
        self.attributes = attributes
        self.labels = labels


class Target:
    """A Redis server as clients name it, with what is remembered of the commands on it.

    Args:
        observer: whose it is: after another `instrument()` another target is made.
        chosen: the names to write.
        address: host, or the path of a socket; empty where the node is known only when it has answered.
        port: 0 for a socket.
        database: its index.
        quick: whether `known` is filled: a command found there needs nothing but a call.
    """

    def __init__(
        self,
        observer: object,
        chosen: Conventions,
        address: str = "",
        port: int = 0,
        database: int = 0,
        *,
        quick: bool = True,
    ) -> None:
        self.observer = observer
        self.conventions = chosen
        self.address = address
        self.port = port
        self.database = database
        self.peer = address if _is_address(address) else ""
        self.quick = quick
        #: Whether `peer` is known as far as it will be: a connection was made, or a command was answered.
        self.settled = bool(self.peer)
        #: Commands, by name as given and the number of arguments.
        self.known: dict[Key, Described] = {}
        self._memo: dict[Key, Described] = {}
        # By their commands. Apart: those that are always others must not displace the commands.
        self._batches: dict[Key, Described] = {}

    @property
    def moves(self) -> bool:
        """Whether it is a cluster or a Sentinel's service: the node is known when it has answered."""
        return not self.address

    def meets(self, address: str) -> None:
        """The server's address on the network is this one now; empty for unknown."""
        if address != self.peer:
            self.peer, self.settled = address, True
            # After the address: what was described without it goes into those that are thrown away.
            self._memo, self._batches, self.known = {}, {}, {}

    @property
    def place(self) -> Attributes:
        """What spans say of where it is, as far as that is known now."""
        return self._place(self.address, self.port, self.peer)

    def command(self, arguments: Sequence[Any]) -> Described:
        """Describes one command."""
        key = (arguments[0], len(arguments))
        forgetful = False
        memo = self._memo
        try:
            known = memo.get(key)
        except TypeError:  # it cannot be hashed: redis-py will say what it thinks of it
            known, forgetful = None, True
        if known is not None:
            if self.quick and self.settled:
                self.known = memo
            return known
        found = describe(arguments[0], len(arguments) - 1)
        upper = found.name.upper()
        extra: dict[str, AttributeValue] = {}
        if upper in _BLOCKING:
            extra[names.REDIS_BLOCKING] = True
        elif upper in _BLOCKING_IF_ASKED:
            forgetful = True  # the same number of arguments may block and not block
            if any(_upper(each) == "BLOCK" for each in arguments[1:8]):
                extra[names.REDIS_BLOCKING] = True
        labels = {names.DB_OPERATION_NAME: found.name, **extra}
        if upper in _NAMED_SCRIPTS and len(arguments) > 1:
            forgetful = True
            script = arguments[1]
            script = script.decode("ascii", "replace") if isinstance(script, bytes) else script
            if isinstance(script, str) and _SCRIPT_NAME.fullmatch(script):
                extra[names.DB_STORED_PROCEDURE_NAME] = script
        old = {names.OLD_DB_REDIS_ARGS_LENGTH: len(arguments)}
        made = self._made(found.name, found.text, labels, extra, old)
        if not forgetful:
            if len(memo) >= _MEMO:
                memo = self._memo = {}
            memo[key] = made
            if self.quick and self.settled:
                self.known = memo
        return made

    def pipeline(self, transaction: bool, commands: Sequence[Sequence[Any]]) -> Described:
        """Describes a pipeline or a transaction.

        Args:
            transaction: whether MULTI and EXEC go around it.
            commands: the arguments of each command.
        """
        key: Key | None = None
        memo = self._batches
        if len(commands) <= _SUMMARY_COMMANDS:
            key = (transaction, *((each[0], len(each)) for each in commands))
            try:
                known = memo.get(key)
            except TypeError:
                known, key = None, None
            if known is not None:
                return known
        # Half of a long pipeline's commands, or more, are the same.
        commands_of: dict[Key, Command] = {}
        found = [_described(commands_of, each) for each in commands]
        kind = "MULTI" if transaction else "PIPELINE"
        distinct = list(dict.fromkeys(each.name for each in found))
        operation = summary = kind
        if len(found) == 1:
            operation = summary = found[0].name  # one operation is no batch, says the convention
        elif len(distinct) == 1:
            operation = summary = f"{kind} {distinct[0]}".rstrip()
        elif distinct:
            more = [*distinct[:_SUMMARY_COMMANDS], *["..."] * (len(distinct) > _SUMMARY_COMMANDS)]
            summary = " ".join((kind, *filter(None, more)))
        texts = list(dict.fromkeys(each.text for each in found))
        text = texts[0] if len(texts) == 1 else "\n".join(each.text for each in found[:_TEXT_COMMANDS])
        if len(texts) > 1 and len(found) > _TEXT_COMMANDS:
            text += "\n..."
        labels: dict[str, AttributeValue] = {names.DB_OPERATION_NAME: operation}
        extra: dict[str, AttributeValue] = {}
        if len(found) != 1:
            # On the span only: commands in always another order would be as many time series.
            extra[names.DB_QUERY_SUMMARY] = summary
            extra[names.DB_OPERATION_BATCH_SIZE] = len(found)
        old = {names.OLD_DB_REDIS_PIPELINE_LENGTH: len(found)}
        made = self._made(summary, text, labels, extra, old)
        if key is not None:
            if len(memo) >= _MEMO:
                memo = self._batches = {}
            memo[key] = made
        return made

    def node(self, host: str, port: int) -> tuple[Attributes, Attributes]:
        """The node that answered: attributes, and labels of the duration."""
        return self._place(host, port, host if _is_address(host) else ""), self._place(host, port, "")

    def _place(self, address: str, port: int, peer: str) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue] = {}
        if not address:
            return found
        if self.conventions.stable:
            found[names.SERVER_ADDRESS] = address
            if port:
                found[names.SERVER_PORT] = port
            if peer:
                found[names.NETWORK_PEER_ADDRESS] = peer
            if peer and port:
                found[names.NETWORK_PEER_PORT] = port
        return found

    def _old_place(self) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue] = {
            names.OLD_DB_SYSTEM: _SYSTEM,
            names.OLD_DB_REDIS_DATABASE_INDEX: self.database,
        }
        if self.address:
            found[names.OLD_NET_PEER_NAME] = self.address
            found[names.OLD_NET_TRANSPORT] = "ip_tcp" if self.port else "other"
        if self.port:
            found[names.OLD_NET_PEER_PORT] = self.port
        return found

    def _made(
        self, name: str, text: str, labels: Attributes, extra: Attributes, old: Attributes
    ) -> Described:
        attributes: dict[str, AttributeValue] = {}
        shown: dict[str, AttributeValue] | None = None
        if self.conventions.stable:
            base = {names.DB_SYSTEM_NAME: _SYSTEM, names.DB_NAMESPACE: str(self.database)}
            place = self._place(self.address, self.port, "")
            shown = {**base, **{key: value for key, value in labels.items() if value}, **place}
            attributes = {**shown, **extra, names.DB_QUERY_TEXT: text}
            attributes.update(self._place(self.address, self.port, self.peer))
        if self.conventions.old:
            attributes.update(self._old_place())
            attributes.update(old)
            attributes[names.OLD_DB_STATEMENT] = text
        return Described(name or _SYSTEM, Fixed(attributes), None if shown is None else Fixed(shown))


def _described(memo: dict[Key, Command], arguments: Sequence[Any]) -> Command:
    try:
        key = (arguments[0], len(arguments))
        found = memo.get(key)
        if found is None:
            found = memo[key] = describe(arguments[0], len(arguments) - 1)
        return found
    except (TypeError, IndexError):
        return describe("", 0)


def _upper(argument: object) -> str:
    if isinstance(argument, bytes):
        return argument.upper().decode("ascii", "replace")
    return argument.upper() if isinstance(argument, str) else ""


def _is_address(host: str) -> bool:
    """Whether it is an IP address or a socket's path: what the connection goes to, without asking anyone."""
    if host.startswith(("/", "@")):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_script(command: object) -> bool:
    """Whether a command runs a Lua script or a function."""
    return _upper(command) in _SCRIPTS


def status_code(error: BaseException) -> str:
    """The prefix of Redis's error, ``WRONGTYPE``; empty for an error that is not the server's."""
    code = getattr(error, "status_code", None)
    if isinstance(code, str) and code:
        return code
    classes = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("redis.")]
    for name in classes:
        if name in _CODES:
            return _CODES[name]
    if "ResponseError" not in classes:
        return ""
    found = _CODE.match(str(error))
    return found[1] if found else "ERR"
