"""S3's errors in our words: one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as s3

from deployments.weights.errors import (
    AccessRefused,
    ObjectChanged,
    ObjectMissing,
    SourceUnreachable,
    StreamBroken,
    WeightsError,
)

_RENEW = (
    AccessRefused,
    "the credentials have expired; renew them in the environment or weights.s3.credentials_file",
)
_WRONG = (
    AccessRefused,
    "the service does not take these credentials; check AWS_ACCESS_KEY_ID and its secret",
)
_DENIED = (AccessRefused, "access is denied; allow these credentials s3:ListBucket and s3:GetObject there")
_NO_BUCKET = (ObjectMissing, "no such bucket; check the address and weights.s3.endpoint_url")
_NO_OBJECT = (ObjectMissing, "no such object; publish the model again, or check the address")
_CHANGED = (ObjectChanged, "it was replaced while it was downloaded; start again, and publish to a new path")
_ELSEWHERE = (ObjectMissing, "the bucket is in another region; set weights.s3.region")

_CODES: dict[str, tuple[type[WeightsError], str]] = {
    "ExpiredToken": _RENEW,
    "ExpiredTokenException": _RENEW,
    "TokenRefreshRequired": _RENEW,
    "RequestExpired": _RENEW,
    "InvalidAccessKeyId": _WRONG,
    "SignatureDoesNotMatch": _WRONG,
    "InvalidToken": _WRONG,
    "RequestTimeTooSkewed": (AccessRefused, "this machine's clock is wrong; set it"),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "403": _DENIED,
    "401": _WRONG,
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _NO_OBJECT,
    "404": _NO_OBJECT,
    "InvalidObjectState": (ObjectMissing, "it is archived; restore it first"),
    "PreconditionFailed": _CHANGED,
    "412": _CHANGED,
    "InvalidRange": _CHANGED,
    "416": _CHANGED,
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "301": _ELSEWHERE,
}
_BROKEN = (
    s3.ResponseStreamingError,
    s3.ReadTimeoutError,
    s3.IncompleteReadError,
    s3.ConnectionClosedError,
)
_NO_CREDENTIALS = (s3.NoCredentialsError, s3.PartialCredentialsError, s3.CredentialRetrievalError)


@contextmanager
def s3_errors(where: str) -> Iterator[None]:
    """Turn what the S3 client raises about an object into an error of ours.

    Raises:
        WeightsError: Its kind and advice by the table.
    """
    try:
        yield
    except s3.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind, advice = _CODES.get(code) or _CODES.get(str(status)) or (None, "")
        if kind is None:
            advice = f"the service answers {status} {code}; try again later, or look into its log"
        raise (kind or SourceUnreachable)(f"{where}: {advice}") from error
    except _NO_CREDENTIALS as error:
        raise AccessRefused(
            f"{where}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "weights.s3.credentials_file, or weights.s3.anonymous for a public bucket"
        ) from error
    except s3.ProfileNotFound as error:
        raise AccessRefused(f"{where}: {error}; check weights.s3.profile") from error
    except s3.SSLError as error:
        raise SourceUnreachable(
            f"{where}: the service's certificate is not trusted; set weights.s3.ca_file"
        ) from error
    except _BROKEN as error:
        raise StreamBroken(f"{where}: the stream broke; check the network") from error
    except s3.BotoCoreError as error:
        raise SourceUnreachable(
            f"{where}: no answer ({type(error).__name__}); check weights.s3.endpoint_url and the network"
        ) from error
