"""Ways around an allow-list that were tried on it: forms and JSON that one parser reads otherwise than another."""

from __future__ import annotations

import email
import email.policy
import io
from collections.abc import Iterator
from email.message import Message
from typing import Any

from werkzeug.formparser import parse_form_data

ALLOWED, FORBIDDEN = "allowed", "forbidden"


def part(name: str = "model", value: str = ALLOWED, boundary: str = "aaa") -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


def headed(head: str, value: str = FORBIDDEN) -> str:
    """Return a plain form with an allowed model, and a part with a head of its own in front of it."""
    return f"--aaa\r\n{head}\r\n\r\n{value}\r\n{part()}--aaa--\r\n"


def named(name: str) -> str:
    return f"Content-Disposition: form-data; name={name}"


PLAIN = "multipart/form-data; boundary=aaa"
_FILE = '--aaa\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
#: A form with the boundary aaa names the allowed model, one with the boundary bbb in it the other one.
TWO_FORMS = part() + _FILE + part(value=FORBIDDEN, boundary="bbb") + "--bbb--\r\n"
_NESTED = (
    part()
    + '--aaa\r\nContent-Disposition: form-data; name="x"\r\nContent-Type: multipart/form-data; boundary=bbb\r\n\r\n'
    + part(value=FORBIDDEN, boundary="bbb")
    + "--bbb--\r\n--aaa--\r\n"
)
_LF = part(value=FORBIDDEN).replace("\r\n", "\n")

FORMS = {
    "boundary in another parameter": ('multipart/form-data; x="boundary=aaa"; boundary=bbb', TWO_FORMS),
    "boundary at the end of a name": ("multipart/form-data; xboundary=aaa; boundary=bbb", TWO_FORMS),
    "two boundaries": ("multipart/form-data; boundary=aaa; boundary=bbb", TWO_FORMS),
    "an extended boundary behind": ("multipart/form-data; boundary=aaa; boundary*=utf-8''bbb", TWO_FORMS),
    "an extended boundary in front": ("multipart/form-data; boundary*=utf-8''bbb; boundary=aaa", TWO_FORMS),
    "a continued boundary": ("multipart/form-data; boundary*0=bb; boundary*1=b; boundary=aaa", TWO_FORMS),
    "a comment": ("multipart/form-data (boundary=aaa); boundary=bbb", TWO_FORMS),
    "a quoted pair in the boundary": ('multipart/form-data; boundary="b\\bb"; x=boundary=aaa', TWO_FORMS),
    "blanks in a quoted boundary": ('multipart/form-data; boundary="aaa "', part() + "--aaa--\r\n"),
    "another kind of multipart": ("multipart/mixed; boundary=aaa", part(value=FORBIDDEN) + "--aaa--\r\n"),
    "two types": ("multipart/form-data; boundary=aaa, multipart/form-data; boundary=bbb", TWO_FORMS),
    "a folded head": (PLAIN, headed('Content-Disposition: form-data;\r\n name="model"')),
    "an extended name": (PLAIN, headed(named("x; name*=utf-8''model"))),
    "only an extended name": (PLAIN, headed("Content-Disposition: form-data; name*=utf-8''model")),
    "a continued name": (PLAIN, headed("Content-Disposition: form-data; name*0=mo; name*1=del")),
    "a backslash in the name": (PLAIN, headed(named('"mod\\el"'))),
    "an escaped quote in a file name": (PLAIN, headed(named('"x"; filename="a\\"; name="model"'))),
    "a blank before the colon": (PLAIN, headed('Content-Disposition : form-data; name="model"')),
    "a blank before the head": (PLAIN, headed(' Content-Disposition: form-data; name="model"')),
    "a bare CR in a head": (PLAIN, headed('X-A: b\rContent-Disposition: form-data; name="model"')),
    "a bare LF in a head": (PLAIN, headed('X-A: b\nContent-Disposition: form-data; name="model"')),
    "blanks around the equals sign": (PLAIN, headed('Content-Disposition: form-data; name = "model"')),
    "two heads": (PLAIN, headed(named("x") + "\r\n" + named("model"))),
    "two names": (PLAIN, headed(named("x; name=model"))),
    "a name in capitals": (PLAIN, headed('Content-Disposition: form-data; NAME="model"')),
    "a name in another case": (PLAIN, headed(named('"Model"'))),
    "a name with brackets": (PLAIN, headed(named('"model[]"'))),
    "a name with blanks": (PLAIN, headed(named('" model"'))),
    "a name with NUL": (PLAIN, headed(named('"model\x00x"'))),
    "a vertical tab": (PLAIN, headed('Content-Disposition: form-data;\x0bname="model"')),
    "a preamble": (PLAIN, part(value=FORBIDDEN).replace("--aaa", "--bbb") + part() + "--aaa--\r\n"),
    "JSON in front": (PLAIN, f'{{"model": "{FORBIDDEN}"}}\r\n' + part() + "--aaa--\r\n"),
    "JSON behind": (PLAIN, part() + f'--aaa--\r\n{{"model": "{FORBIDDEN}"}}'),
    "parts behind the end": (PLAIN, part() + "--aaa--\r\n" + part(value=FORBIDDEN) + "--aaa--\r\n"),
    "parts with LF only": (PLAIN, _LF + part() + "--aaa--\r\n"),
    "parts with LF only within another": (PLAIN, part() + _FILE + "a\n" + _LF + "\r\n--aaa--\r\n"),
    "blanks behind the boundary": (PLAIN, part().replace("--aaa", "--aaa \t") + headed(named("model"))),
    "a boundary within a line": (PLAIN, part() + _FILE + "a" + part(value=FORBIDDEN) + "--aaa--\r\n"),
    "a boundary behind a bare CR": (PLAIN, part() + _FILE + "a\r" + part(value=FORBIDDEN) + "--aaa--\r\n"),
    "a boundary with more behind it": (PLAIN, part() + part(value=FORBIDDEN, boundary="aaab") + "--aaa--\r\n"),
    "no end": (PLAIN, part() + part(value=FORBIDDEN)[:-2]),
    "a form within a part": (PLAIN, _NESTED),
    "a message within a part": (
        PLAIN,
        part() + _FILE.replace("\r\n\r\n", "\r\nContent-Type: message/rfc822\r\n\r\n") + f"{_NESTED}\r\n--aaa--\r\n",
    ),
    "base64": (
        PLAIN,
        part() + headed(named("model") + "\r\nContent-Transfer-Encoding: base64", "Zm9yYmlkZGVu"),
    ),
    "another charset": (
        PLAIN,
        headed(named("model") + "\r\nContent-Type: text/plain; charset=utf-7", "+AGYAbwByAGIAaQBkAGQAZQBu-"),
    ),
    "a charset for all": (PLAIN, part("_charset_", "utf-7") + headed(named("model"), "+AGY-orbidden")),
    "a file called model": (PLAIN, headed(named('"model"; filename="x"'))),
    "a length that is another's": (PLAIN, headed(named("x") + "\r\nContent-Length: 0")),
    "two models": (PLAIN, headed(named("model"))),
    "the other model alone": (PLAIN, part(value=FORBIDDEN) + "--aaa--\r\n"),
    "models": (PLAIN, headed(named("models"))),
}

JSON = {
    "another case": '{"model": "allowed", "Model": "forbidden"}',
    "another case in front": '{"MODEL": "forbidden", "model": "allowed"}',
    "an escaped key": '{"model": "allowed", "m\\u006fdel": "forbidden"}',
    "an escaped key in another case": '{"model": "allowed", "\\u004dodel": "forbidden"}',
    "a blank in the key": '{"model": "allowed", "model ": "forbidden"}',
    "NUL in the key": '{"model": "allowed", "model\\u0000x": "forbidden", "model\\u0000": "forbidden"}',
    "a lone surrogate in the key": '{"model": "allowed", "mod\\ud800el": "forbidden"}',
    "a wide letter in the key": '{"model": "allowed", "\uff4dodel": "forbidden"}',
    "models": '{"model": "allowed", "models": ["forbidden"]}',
    "fallbacks": '{"model": "allowed", "fallbacks": ["forbidden"]}',
    "a list": '{"model": ["allowed", "forbidden"]}',
    "an object behind": '{"model": "allowed"} {"model": "forbidden"}',
    "a list around": '[{"model": "forbidden"}]',
    "a comment": '{"model": "allowed" /*, "model": "forbidden" */}',
    "a trailing comma": '{"model": "allowed",}',
    "NaN": '{"model": "allowed", "n": NaN}',
}

#: Paths and queries under which a body with the allowed model is refused.
TARGETS = """
/openai/deployments/forbidden/chat/completions /openai/Deployments/forbidden/completions
/v1/engines/forbidden/embeddings
/v1beta/models/forbidden:generateContent /v1/models/forbidden /model/forbidden/invoke /models/forbidden
/v1/projects/p/publishers/google/models/forbidden:rawPredict /ai/run/@cf/meta/llama-3 /v1/x.forbidden /v1/x%2fforbidden
/v1/m%6fdels/forbidden /v1//responses /v1/responses;model=forbidden /v1/responses%3Fmodel=forbidden /v1/responses/resp_1
/v1/responses?model=forbidden /v1/responses?Model=forbidden /v1/responses?a=b&m%6fdel=forbidden
/v1/responses?a=b;model=forbidden /v1/responses?m%256fdel=x /v1/responses?model[]=x /v1/responses?+model=x
/v1/responses?deployment=forbidden /v1/responses?model_id=forbidden /v1/responses?model
/v1/files/..;/responses /v1/files/;/responses /v1/files/%2e%2e/responses /v1/files/a.b/responses /v1/files//responses
/files%2fx /v1/files\\..\\responses
""".split()


def models_by_werkzeug(content_type: str, body: bytes) -> Iterator[str]:
    """Return the values that Werkzeug (Flask) reads for fields called `model`, however spelled."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    _, form, files = parse_form_data(environ)
    for name in (*form, *files):
        if name.strip(" []").lower() in ("model", "models"):
            yield from form.getlist(name)
            yield from (file.read().decode("latin-1") for file in files.getlist(name))


def models_by_email(content_type: str, body: bytes) -> Iterator[str]:
    """Return the values that the standard library's parser of messages reads for such fields."""
    text = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body
    message: Message = email.message_from_bytes(text, policy=email.policy.compat32)
    for one in message.walk():
        name = one.get_param("name", header="content-disposition")
        spelled = name[2] if isinstance(name, tuple) else str(name)
        if spelled.strip(" []").lower() in ("model", "models") and not one.is_multipart():
            payload = one.get_payload(decode=True)
            yield payload.decode("latin-1") if isinstance(payload, bytes) else ""
