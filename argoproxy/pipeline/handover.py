"""Replies that are sent byte for byte: a request in its client's own words goes to an upstream that speaks its API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from argoproxy.errors import Ending, ProxyError, UpstreamStatus
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.access.header_rules import response_headers_for_client, response_headers_for_new_body
from argoproxy.protocol.api.endpoints import Endpoint
from argoproxy.protocol.api.passthrough import end_with_error_event, record_reply, withhold_usage
from argoproxy.protocol.http_messages import ClientResponse, Headers
from argoproxy.protocol.routing.route import Route
from argoproxy.telemetry.journal.recorders import ByteCounter, ByteRecorder
from argoproxy.upstreams import Upstream

_ERROR, _RATE_LIMIT = 400, 429


class RawStatus(UpstreamStatus):
    """An error reply that goes to the client byte for byte, unless another attempt follows."""


def is_handed_over(route: Route[Upstream], proxy: Proxy) -> bool:
    """Return whether a route's upstream speaks the API in which its client made the request, as far as is known."""
    origin = route.call.origin
    if origin is None or not route.upstream.speaks(origin.path):
        return False
    return (route.upstream.name, origin.path) not in proxy.missing_paths


def is_path_missing(route: Route[Upstream], error: UpstreamStatus, proxy: Proxy) -> bool:
    """Return whether an error says that the upstream does not speak the client's API after all, and remember it."""
    origin = route.call.origin
    if origin is None or not route.upstream.lacks(origin.path, error):
        return False
    proxy.missing_paths.add(route.upstream.name, origin.path)
    return True


def attempt_handover(
    route: Route[Upstream], endpoint: Endpoint, proxy: Proxy, context: RequestContext
) -> Iterator[bytes]:
    """Send a request in its client's own words along one route and yield the reply byte for byte; b"" is a moment of
    silence. Raises UpstreamStatus with the reply's own body, other ProxyErrors, ClientGone."""
    context.set_route(route)
    upstream, link = route.upstream, proxy.links[route.upstream.name]
    provider = next(one for one in proxy.models.providers if one.upstream.name == upstream.name)
    call = link.images.inline(endpoint.hand_over(route.call), context.watch, endpoint.image_parts)
    request = upstream.completion_request(provider.withhold_credentials(call))
    reply = link.send_any_status(upstream, request, route.timeouts, context)
    if not 200 <= reply.status < 300:
        headers = response_headers_for_new_body(reply.headers)
        raise UpstreamStatus(reply.status, headers, reply.read_error_body())
    for piece in reply.iter_raw():
        if not piece:
            context.watch.check_client()
        yield piece


def attempt_passthrough(
    route: Route[Upstream], routes: Sequence[Route[Upstream]], proxy: Proxy, context: RequestContext
) -> Iterator[bytes]:
    """Send the call along one of the routes and yield the reply byte for byte, whatever its status. Raises RawStatus
    for an error status after which there may be another attempt, other ProxyErrors, ClientGone."""
    context.set_route(route)
    link = proxy.links[route.upstream.name]
    call = link.images.inline(route.call, context.watch)
    reply = link.send_any_status(route.upstream, route.upstream.completion_request(call), route.timeouts, context)
    may_be_followed = len(routes) > 1 or reply.status == _RATE_LIMIT or route.resilience.context_fallback
    if reply.status >= _ERROR and may_be_followed:
        body = bytearray()
        with suppress(ProxyError):  # the status counts all the same
            for piece in reply.iter_raw():
                body += piece
        raise RawStatus(reply.status, reply.headers, bytes(body))
    yield from reply.iter_raw()


def answer_raw_status(error: RawStatus, context: RequestContext) -> ClientResponse:
    """Answer with an error reply, byte for byte."""
    context.set_ending(Ending.UPSTREAM_ERROR)
    headers = response_headers_for_client(error.headers)
    return record_response(ClientResponse(error.status, headers, iter((error.body,))), ByteRecorder, context)


def answer_handed_over(pieces: Iterator[bytes], endpoint: Endpoint, context: RequestContext) -> ClientResponse:
    """Answer with a reply in the client's own API, byte for byte."""
    headers = context.reply_headers
    if context.account and context.reply_status < _ERROR:
        pieces = context.account.meter.measure(pieces, endpoint.answer_texts)
    pieces = record_reply(pieces, headers, endpoint, context)
    if context.route.adds_usage and not context.call.include_usage:
        pieces = withhold_usage(pieces, headers)
    pieces = end_with_error_event(pieces, headers, endpoint, context)
    response = ClientResponse(context.reply_status, response_headers_for_client(headers), pieces)
    return record_response(response, ByteRecorder, context)


def record_response(
    response: ClientResponse, recorder: Callable[[Headers], ByteRecorder | ByteCounter], context: RequestContext
) -> ClientResponse:
    """Return the response with its body recorded for the journal, if there is one, as it passes."""
    if context.record is None:
        return response
    pieces = (response.body,) if isinstance(response.body, bytes) else response.body
    recorded = context.record.record_pieces(pieces, recorder(response.headers))
    return replace(response, body=b"".join(recorded) if isinstance(response.body, bytes) else recorded)
