"""Alertmanager's configuration: who is told of an alert of which severity, and how often.

https://prometheus.io/docs/alerting/latest/configuration/. Receivers have the severities' names, so nothing
of the thresholds file becomes a name or a reference here. Its addresses stand where an address is read, and
are of letters that no reader takes for more (spanwise.thresholds.handlers).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any, Final

from spanwise.artefacts import promql
from spanwise.artefacts.stamp import stamp
from spanwise.artefacts.written import as_yaml
from spanwise.rules.alerting import SEVERITIES, Alerting, Handler
from spanwise.rules.model import Rule

__all__ = ["alertmanager", "without_secrets"]

_COMMENT: Final = """\
# Alerts of one name and one service are told together. Who is told that something is critical need not be
# told that it is also a warning, or worth knowing. What no handler is told of stands on Alertmanager's page.
"""

# The first alerts of a group wait for others that belong to them; critical ones do not.
_GATHERED: Final = {"critical": "0s", "warning": "10s", "info": "1m"}

_TITLE: Final = "{{ .CommonLabels.severity }}: {{ .CommonLabels.alertname }} {{ .Status }}"
# To Slack, <!channel> in a rule's name would call everybody: its three characters are escaped.
_PLAIN: Final = ' | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;"'
_SLACK_TITLE: Final = _TITLE.replace(" }}", f"{_PLAIN} }}}}")
_SLACK_TEXT: Final = (
    f"{{{{ range .Alerts }}}}{{{{ .Annotations.summary{_PLAIN} }}}}. "
    f"{{{{ .Annotations.description{_PLAIN} }}}}\n{{{{ end }}}}"
)

_SECRET: Final = re.compile(r"((?:routing_key|service_key|password|credentials)[ \t]*:[ \t]*)[^\r\n]+")
# The host is kept: it is no secret.
_URL: Final = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s/?#'\"@]*)[^\s]*")


def alertmanager(rules: tuple[Rule, ...]) -> str:
    """The configuration as YAML text."""
    alerting = next(rule for rule in rules if isinstance(rule, Alerting))
    together = ["alertname", promql.SERVICE]
    route = {
        "receiver": "other",
        "group_by": together,
        "group_interval": promql.duration(alerting.throttle),
        "repeat_interval": promql.duration(alerting.repeat),
        "routes": [
            {
                "receiver": severity,
                "matchers": [f'severity="{severity}"'],
                "group_wait": _GATHERED[severity],
            }
            for severity in SEVERITIES
        ],
    }
    silenced = [
        {
            "source_matchers": [f'severity="{worse}"'],
            "target_matchers": [f'severity="{milder}"'],
            "equal": together,
        }
        for worse, milder in combinations(SEVERITIES, 2)
    ]
    receivers: list[dict[str, Any]] = [
        {"name": severity, **_told(each for each in alerting.handlers if severity in each.severities)}
        for severity in SEVERITIES
    ]
    receivers.append({"name": "other"})
    tree = {"route": route, "inhibit_rules": silenced, "receivers": receivers}
    return stamp(rules) + _COMMENT + as_yaml(tree)


def without_secrets(text: str) -> str:
    """Lines of such a configuration, whoever wrote it, without addresses and keys: to be shown in a log."""
    return _URL.sub(r"\1\2/…", _SECRET.sub(r"\1…", text))


def _told(handlers: Iterable[Handler]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for handler in handlers:
        # The process's own, such as the log, are not Alertmanager's.
        if handler.type in _RECEIVERS and handler.by in ("", "alertmanager"):
            key, make = _RECEIVERS[handler.type]
            found.setdefault(key, []).append({"send_resolved": True, **make(handler)})
    return found


def _from(handler: Handler, key: str) -> dict[str, str]:
    """The address, or the file that Alertmanager reads it from: a secret need not stand in a file of ours."""
    return {f"{key}_file": handler.file} if handler.file else {key: handler.address}


def _webhook(handler: Handler) -> dict[str, Any]:
    # Alertmanager reads a webhook's address from a file since 0.26.
    return _from(handler, "url")


def _slack(handler: Handler) -> dict[str, Any]:
    said = {"title": _SLACK_TITLE, "fallback": _SLACK_TITLE, "text": _SLACK_TEXT}
    return {**_from(handler, "api_url"), **said}


def _pagerduty(handler: Handler) -> dict[str, Any]:
    said = "{{ .CommonLabels.severity }}"
    return {**_from(handler, "routing_key"), "description": _TITLE, "severity": said}


_RECEIVERS: Final[dict[str, tuple[str, Callable[[Handler], dict[str, Any]]]]] = {
    "webhook": ("webhook_configs", _webhook),
    "slack": ("slack_configs", _slack),
    "pagerduty": ("pagerduty_configs", _pagerduty),
}
"""By a handler's type: Alertmanager's list, and one of its entries. Another type is a line here."""
