"""A bucket for one test, the same for every server that speaks S3."""

import functools
import uuid
from dataclasses import dataclass
from typing import Any

import s3fs

REGION = "us-east-1"
CONNECT_SECONDS = 2
READ_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Bucket:
    """Where a bucket is and what opens it."""

    endpoint_url: str
    name: str
    access_key: str
    secret_key: str
    region: str = REGION

    @property
    def uri(self) -> str:
        """The bucket as `s3://name`."""
        return f"s3://{self.name}"

    def key_uri(self, key: str) -> str:
        """Return the URI of an object in the bucket."""
        return f"{self.uri}/{key.lstrip('/')}"

    @property
    def env(self) -> dict[str, str]:
        """Environment that makes bulkscore and every AWS client use this server only."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "BULKSCORE_S3_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",  # else a client looks for a cloud machine's role
            # pyarrow's newer checksums make Ceph 16 answer "411 Length Required".
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }

    def filesystem(self, **overrides: Any) -> s3fs.S3FileSystem:
        """Open the server with s3fs: no cached instance, no cached listings, few retries."""
        filesystem = s3fs.S3FileSystem(**{**self._options(), **overrides})
        filesystem.retries = 2  # s3fs retries around botocore's retries: the two multiply
        return filesystem

    def _options(self) -> dict[str, Any]:
        return {
            "key": self.access_key,
            "secret": self.secret_key,
            "endpoint_url": self.endpoint_url,
            "client_kwargs": {"region_name": self.region},
            "config_kwargs": {
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": READ_SECONDS,
                "retries": {"total_max_attempts": 1, "mode": "standard"},
                "s3": {"addressing_style": "path"},
                "request_checksum_calculation": "when_required",
            },
            "use_listings_cache": False,
            "skip_instance_cache": True,
        }


def create_bucket(
    endpoint_url: str, access_key: str, secret_key: str, name: str | None = None
) -> S3Bucket:
    """Create an empty bucket, with a name that no other test has when none is given."""
    bucket = S3Bucket(
        endpoint_url=endpoint_url,
        name=name or f"test-{uuid.uuid4().hex}",
        access_key=access_key,
        secret_key=secret_key,
    )
    # Not `mkdir`: that names the region as the bucket's location, which us-east-1 refuses.
    _maker(endpoint_url, access_key, secret_key).call_s3("create_bucket", Bucket=bucket.name)
    return bucket


@functools.cache
def _maker(endpoint_url: str, access_key: str, secret_key: str) -> s3fs.S3FileSystem:
    """Return the client that makes a server's buckets; a new one for each costs 0.2 s."""
    nameless = S3Bucket(
        endpoint_url=endpoint_url, name="", access_key=access_key, secret_key=secret_key
    )
    return nameless.filesystem()
