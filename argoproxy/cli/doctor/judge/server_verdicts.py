"""Verdicts over the way to an upstream's server: name, connection, TLS, HTTP, the base URL, the key."""

from __future__ import annotations

from urllib.parse import urlsplit

from argoproxy.cli.doctor.judge.findings import Finding, Status, pass_check, skip
from argoproxy.cli.doctor.judge.host_verdicts import MOST_SKEW_S, describe_skew
from argoproxy.cli.doctor.judge.observations import DENIED, NO_PATH, Certificate, HttpAnswer, Network, UpstreamFacts

#: A certificate that ends sooner is warned of.
FEW_DAYS = 14.0
#: Hosts of Argonne, which resolve and answer inside its network only.
ARGONNE = ".anl.gov"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONTAINER = "; in a container, localhost is the container itself: host.docker.internal is the host"
#: Numbers of OpenSSL (x509_vfy.h, X509_V_ERR_…): what is wrong with a certificate.
NOT_YET_VALID, EXPIRED = 9, 10
SELF_SIGNED = 18
WRONG_NAME = (62, 64)


def judge_dns(facts: UpstreamFacts) -> Finding | None:
    """Say whether the names of its servers can be resolved."""
    if not facts.network:
        return None
    wrong = next((network for network in facts.network if network.dns_reason), None)
    if wrong is None:
        one = facts.network[0]
        return pass_check("dns", f"{one.host} is {', '.join(one.addresses[:3])}", ms=one.dns_ms)
    inside = wrong.host.endswith(ARGONNE)
    fix = "connect to Argonne's network or its VPN" if inside else f"correct the host in {facts.url_place}"
    text = f"the name {wrong.host} can't be resolved: {wrong.dns_reason}"
    return Finding("dns", Status.FAIL, text, fix, {"host": wrong.host})


def judge_tcp(facts: UpstreamFacts) -> Finding | None:
    """Say whether its servers accept connections."""
    if not facts.network:
        return None
    wrong = next((network for network in facts.network if network.tcp_reason), None)
    if wrong is None:
        one = facts.network[0]
        via = f" (the HTTP proxy {one.hop})" if one.hop else ""
        return pass_check("tcp", f"{one.peer}{via} in {one.tcp_ms:.1f} ms", ms=one.tcp_ms)
    where = f"{wrong.host}:{wrong.port}"
    evidence = {"host": wrong.host, "port": wrong.port, "reason": wrong.tcp_reason}
    if wrong.is_refused:
        text = f"nothing listens at {where}: {wrong.tcp_reason}"
        fix = f"start the server there, or correct {facts.url_place}"
        return Finding("tcp", Status.FAIL, text, fix + _container_hint(wrong, facts), evidence)
    text = f"{where} does not accept connections: {wrong.tcp_reason}"
    inside = wrong.host.endswith(ARGONNE)
    fix = "connect to Argonne's VPN" if inside else f"let the firewall pass this machine, or correct {facts.url_place}"
    return Finding("tcp", Status.FAIL, text, fix, evidence)


def _container_hint(network: Network, facts: UpstreamFacts) -> str:
    return CONTAINER if facts.is_container and network.host in LOOPBACK else ""


def judge_tls(facts: UpstreamFacts) -> Finding | None:
    """Say whether its servers' certificates are trusted, and for how long. Through a proxy, requests show that."""
    spoken = [(network, network.tls) for network in facts.network if network.tls]
    if not spoken:
        return _judge_tls_of_request(facts)
    wrong = next(((network, tls) for network, tls in spoken if tls.reason), None)
    if wrong:
        return _judge_certificate(*wrong, facts)
    network, tls = spoken[0]
    evidence = {"version": tls.version, "days_left": tls.days_left and round(tls.days_left, 1), "bundle": tls.bundle}
    if tls.days_left is None:
        text = f"{tls.version}; certificates are not verified"
        return Finding("tls", Status.INFO, text, evidence=evidence)
    if tls.days_left < FEW_DAYS:
        text = f"the certificate of {network.host} expires in {tls.days_left:.1f} days"
        return Finding("tls", Status.WARN, text, "renew it", evidence)
    return pass_check("tls", f"{tls.version}, certificate valid for {tls.days_left:.0f} days", **evidence)


def _judge_tls_of_request(facts: UpstreamFacts) -> Finding | None:
    failed = facts.listing if facts.listing and facts.listing.failure.startswith("tls") else None
    if failed is None:
        return None
    reason = failed.reason or failed.failure
    return Finding("tls", Status.FAIL, f"TLS with {facts.url} failed: {reason}", "see the reason", {"url": facts.url})


def _judge_certificate(network: Network, tls: Certificate, facts: UpstreamFacts) -> Finding:
    host, skew_s = network.host, tls.answer.skew_s
    evidence = {"host": host, "reason": tls.reason, "verify_code": tls.verify_code, "bundle": tls.bundle}
    text, fix = f"TLS with {host}:{network.port} failed: {tls.reason}", f"correct {facts.url_place}"
    if tls.verify_code in (NOT_YET_VALID, EXPIRED):
        state = "has expired" if tls.verify_code == EXPIRED else "is not valid yet"
        text, fix = f"the certificate of {host} {state}", "renew it on the server"
        if skew_s is not None and abs(skew_s) > MOST_SKEW_S:
            text += f", and this machine's clock is {describe_skew(skew_s)} the server's"
            fix = "set this machine's clock (timedatectl set-ntp true), then ask again"
            evidence["clock_ahead_s"] = round(skew_s)
    elif tls.verify_code == SELF_SIGNED:
        text = f"the certificate of {host} is self-signed, so no authority vouches for it"
        fix = facts.set_option("verify", "/path/of/this/certificate.pem", "REQUESTS_CA_BUNDLE")
    elif tls.verify_code in WRONG_NAME:
        text = f"the certificate is for another name than {host}: {tls.reason}"
        fix = f"use the certificate's name in {facts.url_place}"
    elif tls.verify_code:
        text = f"the certificate of {host} is issued by an authority that is not trusted: {tls.reason}"
        fix = facts.set_option("verify", "/path/of/its/authority.pem", "REQUESTS_CA_BUNDLE")
    elif "wrong version number" in tls.reason or "record layer" in tls.reason:
        text = f"{host}:{network.port} does not speak TLS: {tls.reason}"
        fix = f"begin the URL with http:// in {facts.url_place}"
    return Finding("tls", Status.FAIL, text, fix, evidence)


def judge_http(facts: UpstreamFacts) -> Finding | None:
    """Say whether the server answers as an API below the base URL."""
    answer = facts.listing
    if answer is None:
        return None
    evidence = {"url": answer.url, "status": answer.status, "server": answer.header("server"), "ms": answer.ms}
    finding = _judge_answer(facts, answer) or pass_check("http", f"{answer.status} from {answer.url}")
    return Finding(finding.code, finding.status, finding.text, finding.fix, {**evidence, **finding.evidence})


def _judge_answer(facts: UpstreamFacts, answer: HttpAnswer) -> Finding | None:
    """Return what is wrong with the answer to the probe, None if it is one of an API."""
    if facts.speaks_tls:
        text = f"{facts.url} is a server for TLS"
        return Finding("http", Status.FAIL, text, f"begin the URL with https:// in {facts.url_place}")
    if answer.failure:
        text = f"{facts.url} gives no HTTP reply: {answer.reason or answer.failure}"
        return Finding("http", Status.FAIL, text, f"see the server's log, or correct {facts.url_place}")
    if answer.status in (502, 503, 504) and (answer.is_html or not answer.document):
        gateway = answer.header("server") or "the gateway"
        text = f"{gateway} answers {answer.status} at {facts.url}: the model server behind it does not reply"
        return Finding("http", Status.FAIL, text, "start the model server, or correct the gateway's address of it")
    if "HTTPS port" in answer.body:
        text = f"{facts.url} is a server for TLS"
        return Finding("http", Status.FAIL, text, f"begin the URL with https:// in {facts.url_place}")
    if 300 <= answer.status < 400:
        target = answer.header("location")
        text = f"{facts.url} redirects to {target or 'another address'}; redirects are not followed"
        return Finding("http", Status.FAIL, text, _set_url(facts, target.removesuffix("/models") or "that address"))
    return _judge_base(facts, answer) if facts.has_model_list else None


def _judge_base(facts: UpstreamFacts, answer: HttpAnswer) -> Finding | None:
    """Return what is wrong with the base URL of a server with OpenAI's or Anthropic's paths."""
    if answer.lists_models or not (answer.status in NO_PATH or answer.is_html or answer.status == 200):
        return None
    if facts.candidates:
        base, _ = facts.candidates[0]
        return Finding("http", Status.FAIL, _wrong_base(facts.url, base), _set_url(facts, base), {"right_url": base})
    if facts.empty_chat and facts.empty_chat.status not in (*NO_PATH, 0) and not facts.empty_chat.is_html:
        return None
    if answer.is_html:
        text = f"{facts.url} answers with a web page, not with an API's JSON"
        return Finding("http", Status.FAIL, text, _set_url(facts, "the address of the API, which often ends in /v1"))
    text = f"{facts.url} has neither a list of models nor chats ({answer.status} from {answer.url})"
    return Finding("http", Status.FAIL, text, _set_url(facts, "the address of the API, which often ends in /v1"))


def _wrong_base(url: str, base: str) -> str:
    path = urlsplit(url).path
    if path.count("/v1") > urlsplit(base).path.count("/v1"):
        return (
            f"`/v1` is doubled in {url}: the API answers at {base}"
            if path.count("/v1") > 1
            else _name_other_base(url, base)
        )
    if base.rstrip("/") == f"{url.rstrip('/')}/v1":
        return f"`/v1` is missing in {url}: the API answers at {base}"
    return _name_other_base(url, base)


def _name_other_base(url: str, base: str) -> str:
    return f"{url} is not the base of the API, which answers at {base}"


def _set_url(facts: UpstreamFacts, url: str) -> str:
    place = facts.url_place
    if place.name.startswith("-"):
        return f"{place.name} {url}"
    return f"{place.name}={url}   ({place.where})" if place.name.isupper() else f"{place.name}: {url}   ({place.where})"


def _judge_accepted(facts: UpstreamFacts) -> Finding:
    """Say what an answer shows that is not a refusal. The probes of some kinds carry no key."""
    if not (facts.listing and facts.listing.lists_models) and not (facts.whole and facts.whole.is_answered):
        return skip("auth", "only a chat shows whether the key is accepted")
    return pass_check("auth", f"{facts.key} is accepted" if facts.key else "no key is needed", key=facts.key)


def judge_auth(facts: UpstreamFacts) -> Finding | None:
    """Say whether the server accepts the key."""
    if not facts.answers:
        return None
    denied = next((answer for answer in facts.answers if answer.status in DENIED), None)
    if denied is None:
        return _judge_accepted(facts)
    status = denied.status
    evidence = {"url": denied.url, "status": status, "key": facts.key, "message": denied.message}
    if not facts.key:
        text = f"{facts.url} wants an API key ({status}), and none is configured"
        fix = f"set {facts.key_place.name}" + (", or have each client send its own" if facts.takes_clients_keys else "")
        return Finding("auth", Status.FAIL, text, fix, evidence)
    if facts.keyless and facts.keyless.lists_models:
        text = f"{facts.url} refuses the configured key ({status}), but answers without one"
        return Finding("auth", Status.FAIL, text, f"remove {facts.key_place}", evidence)
    text = f"{facts.url} refuses the configured key ({status}; {facts.key})"
    return Finding("auth", Status.FAIL, text, f"correct {facts.key_place}", evidence)
