import json
import logging
import threading

import pytest
from redis import ConnectionError as RedisConnectionError

from api.operations.log.configuration import configure_logging
from api.shared.redis import SharedRedis
from tests.kit.processes import free_port


def test_an_outage_is_logged_once_and_without_the_url(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(logging.INFO)
    port = free_port()
    redis = SharedRedis(f"redis://somebody:geheim@127.0.0.1:{port}/0")
    with pytest.raises(RedisConnectionError) as caught:
        redis.client.ping()
    threads = [threading.Thread(target=redis.mark_down, args=("limits", caught.value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not redis.is_up
    redis.mark_up()
    redis.mark_up()
    assert redis.is_up
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [("redis_lost", "error"), ("redis_found", "warning")]
    assert lines[0]["cause"] == "ConnectionError"
    assert str(port) not in text
    assert "geheim" not in text
    redis.close()
