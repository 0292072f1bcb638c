"""What the errors of obstore mean, in words for whoever typed the command."""

import re
from typing import Any

from mvs.errors import RemoteDenied, RemoteFailed, command

# "Error performing GET http://host/key in 3.2s, after 6 retries, max_retries: ... - the reason"
_PERFORMED = re.compile(
    r"Error performing \w+ (?P<url>\S+) in (?P<took>[\d.]+\w+)(?:, after (?P<again>\d+) retries.*?)? +- "
)
_STATUS = re.compile(r"status code: (?P<status>\d{3}[ \w]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_SYSTEM = re.compile(r'message: "([^"]+)"')
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
# Where the credentials of a machine in a cloud come from; asked last, when there are none in the environment.
_MACHINE = ("/latest/api/token", "/latest/meta-data", "/computeMetadata/", "/metadata/identity/")
_BROKEN = ("IncompleteBody", "IncompleteMessage", "UnexpectedEof", "kind: Body", "kind: Decode")
_DENIED = ("401", "403")
_SKEW = "RequestTimeTooSkewed"


def meaning(error: BaseException, place: str, exceptions: Any) -> RemoteFailed | FileNotFoundError:
    """Return what an error of obstore at `place` is to a user of mvs."""
    text = str(error)
    performed = _PERFORMED.search(text)
    if performed and any(part in performed["url"] for part in _MACHINE):
        return RemoteDenied(
            f"no credentials for '{place}' in the environment, and this machine has none of its own",
            hint="export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…" if place.startswith("s3:") else "",
        )
    status, code = _STATUS.search(text), _CODE.search(text)
    number = status["status"][:3] if status else ""
    reason = _reason(text, status["status"].strip() if status else "", code[1] if code else "")
    if performed:
        tries = int(performed["again"] or 0) + 1
        reason += f"; tried {tries} times in {_seconds(performed['took'])}" if tries > 1 else ""
    if code and code[1] == "NoSuchBucket":
        return RemoteFailed(f"'{place}': there is no such bucket", hint="mvs remote list")
    if isinstance(error, FileNotFoundError | exceptions.NotFoundError) or number == "404":
        return FileNotFoundError(place)
    if code and code[1] == _SKEW:
        return RemoteDenied(f"'{place}': this machine's clock is not the server's", hint=command("date", "-u"))
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError) or number in _DENIED:
        return RemoteDenied(f"'{place}' may not be reached with these credentials: {reason}", hint="mvs remote list")
    return RemoteFailed(f"'{place}': {reason}", hint="mvs remote list")


def broke_off(error: BaseException) -> bool:
    """Tell whether an answer began and did not end, and was not asked for again by obstore."""
    performed = _PERFORMED.search(str(error))
    return any(word in str(error) for word in _BROKEN) and not (performed and performed["again"])


def _reason(text: str, status: str, code: str) -> str:
    if status:
        return f"{status} ({code})" if code else status
    if "dns error" in text:
        return "the name of the server is not known"
    if found := _CERTIFICATE.search(text):
        return f"the server's certificate is not to be trusted: {found[1]}"
    if "InvalidMessage" in text:
        return "the server does not speak TLS: is it http:// ?"
    if "TimedOut" in text or "kind: Timeout" in text:
        return "no answer in time"
    if found := _SYSTEM.search(text):
        return found[1]
    if any(word in text for word in _BROKEN):
        return "the connection broke"
    # Behind the first line is how obstore looks inside.
    return text.partition("\n")[0].strip() or "it failed without a word"


def _seconds(took: str) -> str:
    """Return a time of Rust's without its many digits."""
    number = took.rstrip("µnms")
    return f"{float(number):.3g} {took[len(number) :]}"
