"""Makes one HTTP request and tells whether it was answered as expected. A redirection is an answer, not followed."""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from downtime.printable import cut
from downtime.quiescing.programs import NotDone, end

SECONDS = 60.0        # without an answer; the settings' own limit ends it sooner
LONGEST_ANSWER = 500  # characters shown of it
ANSWER_BYTES = 10_000


class _AsItComes(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Where else it leads to must not get our secret."""
        return None


def call(method: str, url: str, *, headers: dict[str, str], seconds: float = SECONDS) -> tuple[int, str]:
    """Status and (the beginning of) the text of the answer. Raises NotDone where there is none."""
    request = urllib.request.Request(url, method=method, headers=headers, data=b"" if method != "GET" else None)
    try:
        with urllib.request.build_opener(_AsItComes).open(request, timeout=seconds) as answer:
            return answer.status, answer.read(ANSWER_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(ANSWER_BYTES).decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NotDone(f"{method} {url}: {why or type(error).__name__}") from None


def _header_value(text: str) -> str:
    """The text, where a header can have it. Raises ValueError: what http.client raises shows the text. Pure."""
    text.encode("latin-1")
    if not text.isprintable():
        raise ValueError
    return text


def is_expected(status: int, expected: Sequence[int]) -> bool:
    """Without a word on what is expected: any from 200 to 299. Pure."""
    return status in expected if expected else 200 <= status < 300


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m downtime.quiescing.http_call", description=__doc__)
    parser.add_argument("method")
    parser.add_argument("url")
    parser.add_argument("--status", type=int, action="append", default=[], help="expected (default: 200 to 299)")
    parser.add_argument("--header", help="a header whose value is in a file")
    parser.add_argument("--secret-file", type=Path, help="that file")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> str:
    """The answer, in a line or two."""
    asked = _arguments(given)
    headers = {}
    if asked.header and asked.secret_file:
        try:
            headers[asked.header] = _header_value(asked.secret_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise NotDone(f"{asked.secret_file}: {error.strerror}") from None
        except ValueError:
            raise NotDone(f"{asked.secret_file} should hold one line of Latin-1 text, the secret") from None
    status, text = call(asked.method, asked.url, headers=headers)
    said = f"{asked.method} {asked.url}: {status}\n{cut(text.strip(), LONGEST_ANSWER)}".rstrip()
    if not is_expected(status, asked.status):
        raise NotDone(said)
    return said


if __name__ == "__main__":
    end(main)
