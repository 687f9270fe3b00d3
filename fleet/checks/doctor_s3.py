"""What keeps a process from its bucket: credentials, the bucket, its versions, a conditional write. Blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from common.config.schema import BucketConfig
from common.storage.s3 import CONFLICTS, client, code, status
from fleet.checks.finding import Finding

NEVER: Final = '"00000000000000000000000000000000"'
"""The ETag of no object."""
READ_S: Final = 15
"""A person waits."""
WRONG_MD5: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
CREDENTIALS: Final = "give this process credentials as AWS's tools find them: a role of the machine, or its environment"
WRITE: Final = "allow s3:PutObject and s3:GetObject below the prefix (deploy/terraform has the policy)"


def archive(bucket: BucketConfig) -> Iterator[Finding]:
    """Of the exporter: objects are replaced on condition, and manifests name versions. Leaves nothing there."""
    s3 = client(bucket, read_s=READ_S)
    yield (reached := _reached(s3, "archive", bucket))
    if not reached.ok:
        return
    try:
        state = s3.get_bucket_versioning(Bucket=bucket.bucket).get("Status")
        text = "keeps versions of its objects" if state == "Enabled" else "does not keep versions of its objects"
        cure = f"aws s3api put-bucket-versioning --bucket {bucket.bucket} --versioning-configuration Status=Enabled"
        yield Finding("archive versions", state == "Enabled", text, "" if state == "Enabled" else cure)
    except ClientError as error:
        text = f"these credentials may not ask ({code(error)}): not known"
        yield Finding("archive versions", True, text, f"look once as its owner: {bucket.bucket} must keep versions")
    yield _conditional(s3, bucket)


def raw(bucket: BucketConfig, gatherer_id: str) -> Iterator[Finding]:
    """Of a gatherer that archives its journal. What it tries to write has a wrong checksum, and is refused for that."""
    key = _key(bucket, f"raw/gatherer={gatherer_id}/doctor")
    try:
        client(bucket, read_s=READ_S).put_object(Bucket=bucket.bucket, Key=key, Body=b"doctor", ContentMD5=WRONG_MD5)
    except ClientError as error:
        if code(error) not in ("BadDigest", "InvalidDigest"):
            yield _refused("raw archive", bucket, error)
            return
    except BotoCoreError as error:
        yield _away("raw archive", error)
        return
    yield Finding("raw archive", True, f"s3://{bucket.bucket} can be written")


def readable(bucket: BucketConfig) -> Finding:
    """Of a reader."""
    return _reached(client(bucket, read_s=READ_S), "archive", bucket)


def _reached(s3: Any, check: str, bucket: BucketConfig) -> Finding:
    try:
        s3.list_objects_v2(Bucket=bucket.bucket, Prefix=_key(bucket, ""), MaxKeys=1)
    except ClientError as error:
        return _refused(check, bucket, error)
    except BotoCoreError as error:
        return _away(check, error)
    return Finding(check, True, f"s3://{bucket.bucket} is there, and these credentials may list it")


def _conditional(s3: Any, bucket: BucketConfig) -> Finding:
    """A write on a condition that nothing meets: what is refused for that leaves nothing."""
    key, check = _key(bucket, "_manifests/doctor"), "archive writes"
    try:
        s3.put_object(Bucket=bucket.bucket, Key=key, Body=b"", IfMatch=NEVER)
    except ClientError as error:
        if status(error) in (404, *CONFLICTS):
            return Finding(check, True, "may be written, and writes on a condition are refused where it is not met")
        return _refused(check, bucket, error)
    except BotoCoreError as error:
        return _away(check, error)
    text = "takes a write whose condition (If-Match) is not met: two exporters could write over each other"
    return Finding(check, False, text, "use AWS's S3, or a store with conditional writes")


def _refused(check: str, bucket: BucketConfig, error: ClientError) -> Finding:
    refused = code(error)
    if refused in ("NoSuchBucket", "404"):
        return Finding(check, False, f"there is no bucket {bucket.bucket}", "create it, or mend `bucket` and `region`")
    if refused in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
        return Finding(check, False, f"the credentials are refused: {refused}", CREDENTIALS)
    if refused in ("PermanentRedirect", "AuthorizationHeaderMalformed", "301"):
        return Finding(check, False, f"{bucket.bucket} is in another region than {bucket.region}", "mend `region`")
    return Finding(check, False, f"s3://{bucket.bucket}: {refused}", WRITE)


def _away(check: str, error: BotoCoreError) -> Finding:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Finding(check, False, "there are no credentials for S3", CREDENTIALS)
    text = " ".join(str(error).split())
    return Finding(check, False, f"S3 does not answer: {text}", "check `endpoint_url`, and the way out of this network")


def _key(bucket: BucketConfig, path: str) -> str:
    return "/".join(part for part in (bucket.prefix.strip("/"), path) if part)
