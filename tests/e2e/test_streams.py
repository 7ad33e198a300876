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


def test_the_first_error_is_told_once_and_only_by_a_sync(streams):
    queued, launched, copied, first, is_trap, again, everything, is_stray, after, each, word = streams("first_errors")
    assert (queued, launched, copied, word) == (0, 0, 0, 5), "neither a launch that waits nor a copy tells what went wrong before"
    assert (first, is_trap, again) == (-5, 1, 0)
    assert (everything, is_stray, after, each) == (-5, 1, 0, 0)


def test_an_error_that_nobody_asked_for_is_not_the_next_calls(streams):
    for _ in range(3):
        assert streams("leave_error") == [0, 0]
        assert streams("only_sync") == [0, 0, 0]


def test_copies_and_fills_stand_in_the_order_of_the_launches(streams):
    filled = 0x01010101
    moved = steps(50, start=filled)
    assert streams("copies_between") == [0, (moved * 3 + 2) % 2**32, 3]


def test_a_buffer_is_freed_after_the_launches_that_may_use_it(streams):
    assert streams("free_waits") == [0, 0, -11, -11, 0, 0, 0]


def test_a_kernel_is_unloaded_after_its_launches(streams):
    assert streams("unload_waits") == [0, 0, steps(50), -3, 0]


def test_the_queue_of_an_instance_ends_and_what_was_queued_runs(streams):
    count, code, is_told, synced, answer, later, word, last = streams("queue_limit")
    assert (count, code, is_told) == (1023, -6, 1), "1,024 with the one that waits"
    assert (synced, answer, later, word, last) == (0, 8, 0, steps(count), 4)


def test_the_streams_of_an_instance_end(streams):
    assert streams("stream_limit") == [256, -6, 0, 1]


@pytest.fixture
def keep(client):
    """Makes an instance that keeps its state; what an export of it printed."""
    kept = []

    def make():
        kept.append(client.post_json("/instances", {"function": "streams"}).json()["id"])

        def run(export):
            reply = client.request("POST", f"/instances/{kept_id}/invoke?export={export}", b"", {"Content-Type": "application/octet-stream"}, timeout=60)
            assert reply.status == 200, reply
            return [int(word) for word in reply.body.split()]
        kept_id = run.id = kept[-1]
        return run
    yield make
    for kept_id in kept:
        client.request("DELETE", f"/instances/{kept_id}")


def test_what_a_call_of_a_kept_instance_left_running_goes_on_in_the_next(client, keep):
    run = keep()
    assert run("begin") == [0] and permits_used(client) == 1
    assert run("finish") == [0, 0, 8]
    assert run("leave_error") == [0, 0]
    assert run("only_sync") == [-5, 1, 0] and run("only_sync") == [0, 0, 0]


@pytest.mark.parametrize("first", [0, 1])
def test_two_instances_run_while_the_others_kernel_waits(client, streams, keep, first):
    """A kernel waits in the one until the other's have all run: in any order of one after the other nothing would end."""
    runs = [keep(), keep()]
    runs.insert(0, runs.pop(first))
    assert runs[0]("begin") == [0] and permits_used(client) == 1
    assert runs[1]("order") == [0, 0, 0, steps(200), steps(200, factor=2), steps(200, factor=3), 1]
    assert permits_used(client) == 1 and streams("order")[:3] == [0, 0, 0]
    assert runs[0]("finish") == [0, 0, 8]


def test_an_instance_that_holds_every_thread_of_the_device_does_not_hold_up_another_of_its_tenant(client, streams, keep):
    run = keep()
    assert run("begin_wide") == [0] and permits_used(client) == 1
    assert streams("order")[:3] == [0, 0, 0] and permits_used(client) == 1
    assert run("finish_wide") == [0, 8]


@pytest.mark.stops_kernels
def test_work_that_is_pending_ends_with_its_kept_instance(client, streams, keep):
    run = keep()
    assert run("left_running") == [0, 0] and permits_used(client) == 1
    assert client.request("DELETE", f"/instances/{run.id}").status < 300
    eventually(lambda: permits_used(client) == 0, what="the end of the deleted instance's kernels")
    assert streams("fresh") == [0, 0, 0, 0]


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


PENDING = ["wait_for_pending", "copy_after_pending", "compute_while_pending"]


@pytest.mark.stops_kernels
@pytest.mark.parametrize("export", PENDING)
def test_a_deadline_ends_what_is_pending(client, streams, export):
    """Whether it comes while the guest waits for a sync or a copy, or while it computes."""
    reply = client.raw("streams", b"", export, headers={"X-TensorWasm-Deadline-Ms": "300"}, timeout=60)
    assert (reply.status, reply.kind) == (504, "invoke_timeout"), reply
    eventually(lambda: permits_used(client) == 0, what="the end of what was pending")
    assert streams("fresh") == [0, 0, 0, 0]


@pytest.mark.stops_kernels
@pytest.mark.parametrize("export", PENDING)
def test_a_cancel_ends_what_is_pending(client, streams, export):
    job = client.post_json("/functions/streams/invoke-async", {"export": export}).json()["job_id"]
    eventually(lambda: permits_used(client) == 3, what="a kernel of every stream")
    assert client.request("DELETE", f"/jobs/{job}").status < 300
    eventually(lambda: client.get(f"/jobs/{job}").json()["state"] == "cancelled", what="the job's end")
    eventually(lambda: permits_used(client) == 0, what="the end of what was pending")
    assert streams("fresh") == [0, 0, 0, 0]


@pytest.mark.stops_kernels
def test_a_trap_ends_what_is_pending(client, streams):
    reply = client.raw("streams", b"", "trap_while_pending", timeout=60)
    assert reply.status >= 400 and reply.kind == "guest_trap", reply
    eventually(lambda: permits_used(client) == 0, what="the end of what was pending")
    assert streams("fresh") == [0, 0, 0, 0]


@pytest.mark.stops_kernels
def test_the_time_limit_ends_a_launch_and_the_deadline_the_call(tmp_path_factory):
    """Of a launch that is queued the time that it waits does not count: each of those behind an endless one has all of the limit."""
    with Server(tmp_path_factory.mktemp("limits"), ["--kernel-timeout-ms", "1000"]) as server:
        client = server.client
        assert client.deploy("streams", guest("streams.c")).status == 201
        assert client.raw("streams", b"", "limits", timeout=60).body.split() == [b"0", b"-5", b"1", b"0", b"-5", b"1", b"5"]
        reply = client.raw("streams", b"", "wait_for_pending", headers={"X-TensorWasm-Deadline-Ms": "1500"}, timeout=60)
        assert (reply.status, reply.kind) == (504, "invoke_timeout"), "21 endless launches of one stream would take 21 seconds"
        eventually(lambda: permits_used(client) == 0, what="the end of what was pending")
        assert client.raw("streams", b"", "fresh").body.split() == [b"0"] * 4
