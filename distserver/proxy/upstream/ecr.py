"""Amazon's ECR gives a password for twelve hours to whoever has AWS credentials.

boto3 finds those as usual: variables, files, roles. It is imported with the first password.
"""

from __future__ import annotations

import base64
import time

from distserver.proxy.upstream.credentials import Credentials, Kept

MOST_LIFE_SECONDS = 6 * 3600.0


def ecr_password(region: str) -> Kept:
    """Credentials that ECR of a region gives, asked anew after half of their life."""
    return Kept(f"ECR {region}", lambda: None, lambda: _ask(region))


def _ask(region: str) -> Credentials:
    """Raises: OSError. Blocks on: AWS, half a minute at most."""
    import boto3
    import botocore.exceptions
    from botocore.config import Config

    limits = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2})
    try:
        client = boto3.client("ecr", region_name=region, config=limits)
        given = client.get_authorization_token()["authorizationData"][0]
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as exc:
        raise OSError(f"ECR: {type(exc).__name__}") from exc
    user, _, secret = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    life = (given["expiresAt"].timestamp() - time.time()) / 2
    return Credentials(user, secret, False, min(max(life, 60.0), MOST_LIFE_SECONDS))
