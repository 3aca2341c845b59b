"""The inbox as an HTML page."""

import time
from datetime import datetime
from html import escape

from lab.desk.inbox import Inbox, Notification, SentAlert
from lab.desk.verdicts import buttons

REFRESH_SECONDS = 5
# heartbeats arrive every minute; two missing ones mean that alerting is broken
SILENT_SECONDS = 150.0

STYLE = """
:root { color-scheme: light dark; --line: #8884; --page: #c4314b; --ticket: #b26a00; --good: #22863a; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; }
.quiet { opacity: .7; }
article { border: 1px solid var(--line); border-left: 4px solid var(--good); border-radius: 4px; margin: .8rem 0;
  padding: .5rem .9rem; }
article.page { border-left-color: var(--page); }
article.ticket { border-left-color: var(--ticket); }
article.resolved { border-left-color: var(--good); opacity: .75; }
ul { margin: .3rem 0; padding-left: 1.1rem; }
form { float: right; }
.late { color: var(--page); font-weight: 600; }
code { font-size: .9em; }
"""


def render(inbox: Inbox) -> str:
    """The page."""
    notifications = inbox.newest()
    articles = "".join(_notification(each) for each in notifications)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}">
<title>Inbox ({len(notifications)})</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Inbox</h1>
<p class="quiet">Notifications of alerts, newest first. {_heartbeat(inbox.silence)}
<a href="/runbooks">Runbooks</a></p>
{articles or "<p>Nothing yet. Break something: <code>glasshouse pause redis-1</code></p>"}
</body>
</html>
"""


def _heartbeat(seconds: float | None) -> str:
    if seconds is None:
        return '<span class="late">No heartbeat of the dead-man&#x27;s switch yet.</span>'
    kind = "late" if seconds > SILENT_SECONDS else "quiet"
    return f'<span class="{kind}">Last heartbeat of the dead-man&#x27;s switch {seconds:.0f} s ago.</span>'


def _notification(notification: Notification) -> str:
    message = notification.message
    when = time.strftime("%H:%M:%S", time.localtime(notification.received))
    group = ", ".join(f"{name}={value}" for name, value in sorted(message.group_labels.items()))
    kind = "resolved" if message.status == "resolved" else escape(message.receiver)
    alerts = "".join(_alert(alert) for alert in message.alerts)
    form = buttons(notification.number, notification.verdict) if message.status == "firing" else ""
    return (
        f'<article class="{kind}"><strong>{escape(message.status)}</strong>'
        f' <span class="quiet">{when} · {escape(message.receiver)} · {escape(group)}'
        f" · {len(message.alerts)} alert(s)</span>{form}<ul>{alerts}</ul></article>\n"
    )


def _local(moment: datetime) -> str:
    try:
        return moment.astimezone().strftime("%H:%M:%S")
    except OverflowError:
        # at either end of the calendar, where the day does not exist in another time zone
        return moment.strftime("%H:%M:%S")


def _alert(alert: SentAlert) -> str:
    note = alert.annotations
    since = _local(alert.starts_at)
    text = (
        f"<li><strong>{escape(alert.labels.get('alertname', '?'))}</strong> {escape(note.get('summary', ''))}"
        f" <span class='quiet'>({escape(alert.status)}, since {since})</span><br>{escape(note.get('description', ''))}"
    )
    for name, words in (("dashboard_url", "dashboard"), ("runbook_url", "runbook")):
        # anyone may have sent it, so only http addresses become links
        if note.get(name, "").startswith(("http://", "https://")):
            text += f' · <a href="{escape(note[name])}">{words}</a>'
    return text + "</li>"
