"""How servers say that a model can't be asked the way it was: as a stream, or whole."""

from __future__ import annotations

import re

from argoproxy.errors import ProxyError, UpstreamStatus

#: Patterns of refusals; tests/upstreams/test_modes.py has the wordings they are made of, and who writes them.
_REFUSED = re.compile(
    r"only supports? stream"
    r"|only (?:non[-_ ]?)?stream(?:ing)?(?: \w+)? (?:is|are) supported"
    r"|for non-streaming calls"
    r"|(?:enable|remove) (?:the )?['\"`]?stream['\"`]? "
    r"|set (?:the )?['\"`]?stream['\"`]? ?(?:to|=|:) ?(?:true|false)"
    r"|\bstream['\"`]? (?:does not support|must be (?:set to )?(?:true|false))"
    r"|\bstream(?:ing)?['\"`]?(?: \w+)? (?:is|are) (?:not|un)(?: currently| yet)? ?"
    r"(?:support|available|allowed|enabled)"
    r"|(?:does not|doesn't|do not) (?:currently |yet )?support (?:non[-_ ]?)?(?:http call|sse|stream)"
    r"|(?:requires?|must use|should use|please use) (?:non[-_ ]?)?stream(?:ing)?\b"
    r"|stream(?:ing)? (?:mode )?is (?:strongly )?(?:required|mandatory)"
    r"|must be verified to stream"
    r"|incremental_output parameter must be",
    re.IGNORECASE,
)
_TOO_MANY, _FAILURE, _NOT_IMPLEMENTED = 429, 500, 501
#: What an error is given that was told under a status of success and says neither status nor type.
_OF_NO_STATUS, _NAMELESS = 502, b'"type":"upstream_error"'


def refuses_mode(error: ProxyError) -> bool:
    """Tell whether an upstream's error says that the model can't be asked this way. A failure says nothing of it, nor
    does a limit that was reached."""
    if not isinstance(error, UpstreamStatus) or error.status == _TOO_MANY:
        return False
    is_failure = error.status >= _FAILURE and error.status != _NOT_IMPLEMENTED
    is_told_under_a_success = error.status == _OF_NO_STATUS and _NAMELESS in error.body
    if is_failure and not is_told_under_a_success:
        return False
    return bool(_REFUSED.search(error.body.decode("utf-8", "replace")))
