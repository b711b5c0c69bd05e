"""Reading the site's settings: a TOML file becomes a `Settings`, or a SettingsError that names the file, the key and what was expected.

An unknown key, a wrong type, a value out of range and what contradicts itself are such errors; nothing is guessed or ignored. Relative
folders are relative to the file.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from node.errors import SettingsError
from node.language import LANGUAGES
from node.paradigms import task_problem
from node.settings import (
    Accept,
    Audit,
    Destination,
    Listener,
    Priors,
    Results,
    Sender,
    Settings,
    Storage,
    StudyRules,
    Task,
    Tls,
    Worker,
)
from node.tls_settings import fingerprint_in, trust_problem
from node.web_address import address_problem, is_loopback

_TABLES = {
    "listener": Listener, "tls": Tls, "study": StudyRules, "priors": Priors, "worker": Worker, "sender": Sender, "storage": Storage,
    "results": Results, "audit": Audit,
}  # fmt: skip
_LISTS = {"listener.accept": Accept, "destination": Destination, "task": Task}
_NAMES = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false", Path: "a path in quotes"}
_MAY_BE_EMPTY = ("institution", "ask", "archive", "retrieve", "certificate")
_RANGES = {
    "port": (0, 65535), "max_pdu": (4096, 2**20), "associations_at_once": (1, 500), "associations_per_address": (1, 500),
    "connections_at_once": (1, 50000), "connections_per_address": (1, 50000), "maximum_object_gib": (0.001, 1024),
    "request_timeout_s": (0.1, 3600), "pdu_timeout_s": (0.1, 3600), "idle_timeout_s": (1, 86400), "quiet_s": (0, 86400),
    "studies_at_once": (1, 256), "time_limit_s": (1, 86400), "memory_limit_gib": (0.1, 4096), "timeout_s": (1, 3600),
    "proof_wait_s": (1, 604800), "deadline_s": (0, 604800),
    "retry_first_s": (0.01, 86400), "retry_maximum_s": (0.01, 604800), "give_up_h": (0.01, 8760), "minimum_free_gib": (0, 100000),
    "maximum_gib": (0.001, 1024), "keep_days": (0, 36500),
    "plain_port": (0, 65535), "warn_days": (0, 3650), "rest_s": (1, 600), "task_s": (1, 600),
    "years_back": (0, 120), "most": (1, 100), "wait_s": (1, 3600),
}


def read_settings(path: Path | None = None) -> Settings:
    """The settings of that file; the defaults where `path` is None."""
    if path is None:
        return _checked(Settings())
    path = path.absolute()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not TOML: {error}.") from None
    try:
        return _checked(replace(_settings(table, path.parent), source=path))
    except SettingsError as error:
        raise SettingsError(f"The settings file {path} is wrong: {error}") from None


def _settings(table: dict[str, Any], base: Path) -> Settings:
    known = [*_TABLES, "destination", "task"]
    for name in table:
        if name not in known:
            raise SettingsError(f"there is no table [{name}].{_suggestion(name, known)}")
    parts = {name: _read(kind, _table(table.get(name, {}), name), name, base) for name, kind in _TABLES.items()}
    peers = _list(table.get("destination", []), "destination", base)
    peers = tuple(replace(peer, shown=parts["tls"]) if peer.tls else peer for peer in peers)
    return Settings(**parts, destination=peers, task=_list(table.get("task", []), "task", base))


def _read(kind: type, table: dict[str, Any], where: str, base: Path) -> Any:
    types, given = {key: hint for key, hint in get_type_hints(kind).items() if key not in _no_keys(kind)}, {}
    for key, value in table.items():
        if key not in types:
            raise SettingsError(f"[{where}] has no key {key!r}.{_suggestion(key, list(types))}")
        given[key] = _list(value, f"{where}.{key}", base) if f"{where}.{key}" in _LISTS else _value(value, types[key], where, key, base)
    for needed in fields(kind):
        if needed.name not in given and needed.default is MISSING and needed.default_factory is MISSING:
            raise SettingsError(f"[[{where}]] needs the key {needed.name!r}.")
    return kind(**given)


def _no_keys(kind: type) -> set[str]:
    return {one.name for one in fields(kind) if one.metadata.get("is_no_key")}


def _value(value: Any, kind: type, where: str, key: str, base: Path) -> Any:
    kind = Path if kind == Path | None else kind
    if kind == tuple[str, ...]:
        if not isinstance(value, list):
            raise SettingsError(f"[{where}] {key} is {value!r}; it must be a list of texts: [\"...\", \"...\"].")
        return tuple(_value(one, str, where, key, base) for one in value)
    if kind == tuple[float, ...]:
        if not isinstance(value, list):
            raise SettingsError(f"[{where}] {key} is {value!r}; it must be a list of numbers: [30, 90, 150].")
        return tuple(_value(one, float, where, key, base) for one in value)
    wanted = {float: (int, float), Path: (str,)}.get(kind, (kind,))
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, wanted):
        raise SettingsError(f"[{where}] {key} is {value!r}; it must be {_NAMES[kind]}.")
    low, high = _RANGES.get(key, (value, value))
    if kind in (int, float) and not low <= value <= high:
        raise SettingsError(f"[{where}] {key} is {value!r}; it must lie between {low} and {high}.")
    if kind is str and (reason := _bad_text(key, value)):
        raise SettingsError(f"[{where}] {key} is {value!r}; {reason}.")
    return base / Path(value).expanduser() if kind is Path else kind(value)


def _bad_text(key: str, value: str) -> str | None:
    if key == "ae_title" and not re.fullmatch(r"(?! )[ -\[\]-~]{1,16}(?<! )", value):
        return "an AE title has 1 to 16 characters, no backslash, and no space at its ends"
    if key == "address":
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            return "it must be an IP address or network, for example 192.0.2.10 or 192.0.2.0/24"
    if key == "certificate" and re.fullmatch(r"(?i)(sha256:.*|[0-9a-f]{2}(:[0-9a-f]{2}){7,})", value) and not fingerprint_in(value):
        return "a SHA-256 fingerprint has 64 hexadecimal digits, in pairs with colons or without"
    if key == "profile" and value not in ("b.12", "b.13"):
        return 'there is "b.12" and "b.13"'
    if key == "retrieve" and value not in ("", "get", "move"):
        return 'there is "get", "move", and "" for the first of them that the peer offers'
    return None if value.strip() or key in _MAY_BE_EMPTY else "it must not be empty"


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where} must be a table: write [{where}] on a line of its own.")
    return value


def _list(value: Any, where: str, base: Path) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise SettingsError(f"{where} must be a list of tables: write [[{where}]] on a line of its own.")
    return tuple(_read(_LISTS[where], _table(item, where), where, base) for item in value)


def _suggestion(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f" Did you mean {near[0]!r}?" if near else f" Known are: {', '.join(known)}."


def _checked(settings: Settings) -> Settings:
    if not settings.listener.accept and not is_loopback(settings.listener.host):
        raise SettingsError(
            f"[listener] host is {settings.listener.host!r}, which the network can reach, but nobody is listed who may send. "
            "List every caller with its AE title and address under [[listener.accept]], or listen on 127.0.0.1."
        )
    if settings.results.language not in LANGUAGES:
        known = ", ".join(f"{code!r}" for code in LANGUAGES)
        raise SettingsError(f"[results] language is {settings.results.language!r}; there is {known}.")
    names = [peer.name for peer in settings.destination]
    _check_study(settings.study, [peer.name for peer in settings.destination if not peer.url])
    if settings.priors.archive and settings.priors.archive not in names:
        raise SettingsError(f"[priors] archive is {settings.priors.archive!r}; it must be the name of a [[destination]].")
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"two destinations have the name {name!r}; each needs its own.")
    for peer in settings.destination:
        if reason := address_problem(peer):
            raise SettingsError(f"[[destination]] {reason}")
    if settings.audit.key and not settings.audit.certificate:
        raise SettingsError("[audit] key is given without its certificate.")
    for one in settings.task:
        if reason := task_problem(one):
            raise SettingsError(f"[[task]] {reason}")
    if reason := trust_problem(settings):
        raise SettingsError(reason)
    return settings


def _check_study(rules: StudyRules, destinations: list[str]) -> None:
    if rules.expect:
        from analysis.examination import ROLES

        known = [role for role in ROLES if role != "other"]
        for role in (role for group in rules.expect for role in group.split(" or ")):
            if role not in known:
                raise SettingsError(f"[study] expect has {role!r}, which is no role.{_suggestion(role, known)}")
    if rules.ask and rules.ask not in destinations:
        raise SettingsError(f"[study] ask is {rules.ask!r}; it must be the name of a [[destination]] that has an AE title.")
