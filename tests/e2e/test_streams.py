# SPDX-License-Identifier: Apache-2.0
"""Launches that do not wait, from a guest: order within a stream, streams and instances that overlap, errors at the sync, what a call leaves
running."""
import pytest

from twtest.build import guest
from twtest.server import Server, eventually


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Of a server whose kernels may run for so long that no test can come to the limit."""
    with Server(tmp_path_factory.mktemp("streams"), ["--kernel-timeout-ms", "600000", "--invoke-timeout-ms", "600000"]) as server:
        assert server.client.deploy("streams", guest("streams.c")).status == 201
        yield server.client


@pytest.fixture
def streams(client):
    def run(export):
        reply = client.raw("streams", b"", export, timeout=60)
        assert reply.status == 200, reply
        return [int(word) for word in reply.body.split()]
    return run


def steps(count, start=0, factor=1):
    value = start
    for i in range(count):
        value = (value * 3 + i * factor) % 2**32
    return value


def test_launches_of_a_stream_run_in_their_order(streams):
    assert streams("order") == [0, 0, 0, steps(200), steps(200, factor=2), steps(200, factor=3), 1]


def test_two_streams_of_an_instance_run_at_once(streams):
    assert streams("overlap") == [0, 0, 8]


def test_an_error_comes_with_the_sync_of_its_stream_once(streams):
    assert streams("errors") == [0, 0, -5, 1, 0, 0, 0, 5, 6]


def test_a_copy_waits_for_what_was_queued(streams):
    assert streams("copies_wait") == [0, steps(100, start=1)]


def test_streams_are_destroyed_with_their_work_done_and_their_errors_kept(streams):
    assert streams("many") == [0, 0, 255, -5, 0]


def test_streams_that_are_not_there(streams):
    gone, launched, synced, again, negative, all_of_them, default = streams("handles")
    assert gone == 0 and {launched, synced, again, negative, all_of_them} == {-11} and default < 0


def permits_used(client):
    return client.metric("tensor_wasm_backpressure_permits_used")


@pytest.mark.stops_kernels
def test_what_a_call_leaves_running_ends_with_it(client, streams):
    for _ in range(3):
        assert streams("left_running") == [0, 0]
    assert streams("errors") == [0, 0, -5, 1, 0, 0, 0, 5, 6], "nothing of it is seen by the next call"
    eventually(lambda: permits_used(client) == 0, what="the end of what was left")


@pytest.mark.stops_kernels
def test_launches_of_different_instances_overlap(client, streams):
    job = client.post_json("/functions/streams/invoke-async", {"export": "spin"}).json()["job_id"]
    eventually(lambda: permits_used(client) == 1, what="the first instance's kernel")
    assert streams("order")[:3] == [0, 0, 0], "another instance's launches run meanwhile"
    assert client.get(f"/jobs/{job}").json()["state"] == "running" and permits_used(client) == 1
    assert client.request("DELETE", f"/jobs/{job}").status < 300
    eventually(lambda: permits_used(client) == 0, what="the end of the kernel that was cancelled")
