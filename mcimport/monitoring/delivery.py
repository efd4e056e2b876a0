"""Delivers one message to a health check or a webhook, or says why not, without the address, which is a secret."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from mcimport.config import NotifyUrlSource
from mcimport.errors import ConfigError, McimportError
from mcimport.monitoring.http_post import HttpPoster
from mcimport.services.http.shutdown import StopSignal

TRIES = 2


class Delivery:
    """Delivers the messages of one call. Safe to use from many threads.

    Its methods raise McimportError where a message was not delivered; ConfigError where the address cannot be used.

    Args:
        stop: once a stop is requested, no second try is made.
    """

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop
        self._poster = HttpPoster()

    def ping(self, source: NotifyUrlSource, ending: str, text: str) -> None:
        """Posts a text to a health check. `ending`: of the path; "/start", "/fail", or "" for success."""
        url = urlsplit(source.read().get_secret_value())  # escapes stay as they are
        url = url._replace(path=url.path.rstrip("/") + ending)
        self._post(source, url.geturl(), content=text.encode())

    def post_document(self, source: NotifyUrlSource, document: dict[str, Any]) -> None:
        """Posts a JSON document to a webhook."""
        self._post(source, source.read().get_secret_value(), json=document)

    def cancel(self) -> None:
        """Ends the messages under way, and all that come after them: the process is about to end."""
        self._poster.cancel()

    def _post(self, source: NotifyUrlSource, url: str, **what: Any) -> None:
        words = "cannot be reached"
        for _ in range(TRIES):
            try:
                status = self._poster.post(url, **what)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                words = "took too long to answer" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
                if self._stop.requested.is_set():
                    break
                continue
            except ConfigError as error:
                words = f"cannot be reached: {error}"
                break
            if 200 <= status < 300:  # noqa: PLR2004 - the range that HTTP calls success
                return
            words = f"answered {status}"
        raise McimportError(f"{source.name} {words}: notification not delivered")
