"""The base and health routes."""

from __future__ import annotations

from tests.live import Server


def test_base_answers_with_the_api_version(server: Server) -> None:
    """Clients ping /v2/ before anything else."""
    answer = server.request("GET", "/v2/")
    assert answer.status_code == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
