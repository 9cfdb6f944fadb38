import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from safekit_lab import Bind, Lab, LabError, state
from safekit_lab.freezer import cgroup_root

pytestmark = pytest.mark.system
Eventually = Callable[[Callable[[], object]], None]


def host_mounts() -> str:
    return Path("/proc/self/mounts").read_text()


def host_links() -> str:
    return subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout


def runs(pid: int) -> bool:
    """A process that is dead and only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def namespaces(pid: int) -> set[str]:
    return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("mnt", "net", "ipc", "uts", "pid")}


def namespaces_in_use() -> Iterator[str]:
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with suppress(OSError):
            if runs(pid):
                yield from namespaces(pid)


def cgroups(lab: Lab) -> list[Path]:
    root = cgroup_root()
    return list(root.glob(f"safekit-lab.{lab.name}.*")) if root else []


def inits(lab: Lab) -> list[int]:
    return [status.pid for status in lab.statuses() if status.pid is not None]


def test_after_kill_9_of_the_keeper_nothing_is_left(lab_dir: Path, eventually: Eventually) -> None:
    mounts, links = host_mounts(), host_links()
    lab = Lab.up(nodes=2, clients=1, networks=2)
    workers = [node.start(["sleep", "600"]) for node in lab.nodes]
    pids = [lab.keeper_pid, *inits(lab), *(worker.pid for worker in workers)]
    owned = set().union(*map(namespaces, inits(lab))) | namespaces(lab.keeper_pid)
    owned -= namespaces(os.getpid())
    os.kill(lab.keeper_pid, signal.SIGKILL)
    assert [worker.wait(timeout_s=20) for worker in workers] == [-9, -9]
    eventually(lambda: not any(map(runs, pids)))
    assert not owned & set(namespaces_in_use())
    assert (host_mounts(), host_links()) == (mounts, links)
    assert state.labs() == []
    assert lab.name in state.sweep()
    assert not (lab_dir / lab.name).exists()
    eventually(lambda: not state.sweep() and not cgroups(lab))


def test_after_down_nothing_is_left(lab_dir: Path) -> None:
    mounts, links = host_mounts(), host_links()
    lab = Lab.up(nodes=2)
    pids = [lab.keeper_pid, *inits(lab)]
    lab.down()
    assert not any(map(runs, pids))
    assert (host_mounts(), host_links()) == (mounts, links)
    assert not (lab_dir / lab.name).exists()
    assert not cgroups(lab)
    lab.down()


def test_the_hosts_root_cannot_be_written_from_where_the_keeper_cleans_up() -> None:
    with Lab.up(nodes=1) as lab:
        lines = Path(f"/proc/{lab.keeper_pid}/mounts").read_text().splitlines()
        lower = next(line.split() for line in lines if line.split()[1].endswith("/mounts/lower"))
        assert "ro" in lower[3].split(",")


def test_a_lab_ends_with_the_process_that_started_it(lab_dir: Path, eventually: Eventually) -> None:
    code = (
        "import os; from safekit_lab import Lab; Lab.up(nodes=1, name='orphan'); print('up', flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "up\n"
    eventually(lambda: not (lab_dir / "orphan").exists())


def test_a_lab_that_may_outlive_its_starter_does() -> None:
    code = "from safekit_lab import Lab; Lab.up(nodes=1, name='outliving', outlive=True)"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    with Lab.find("outliving") as lab:
        assert lab.node("node1").run(["hostname"]).stdout == "node1\n"


def test_a_name_is_taken_once() -> None:
    with Lab.up(nodes=1, name="taken"), pytest.raises(LabError, match="already up"):
        Lab.up(nodes=1, name="taken")


def test_a_name_is_free_again_after_its_keeper_was_killed(eventually: Eventually) -> None:
    first = Lab.up(nodes=1, name="again")
    os.kill(first.keeper_pid, signal.SIGKILL)
    eventually(lambda: not first.folder.is_held())
    with Lab.up(nodes=1, name="again") as second:
        assert second.node("node1").state == "running"


def test_two_labs_with_the_same_addresses_do_not_meet() -> None:
    with Lab.up(nodes=1) as small, Lab.up(nodes=2) as large:
        assert large.node("node1").run(["ping", "-c1", "-W1", "10.77.0.2"]).returncode == 0
        assert small.node("node1").run(["ping", "-c1", "-W1", "10.77.0.2"], check=False).returncode == 1
        small.down()
        assert large.node("node2").run(["ping", "-c1", "-W1", "10.77.0.1"]).returncode == 0


def test_a_lab_that_is_not_up_is_not_found() -> None:
    with pytest.raises(LabError, match="no lab named 'nowhere' is up"):
        Lab.find("nowhere")


def test_a_specification_out_of_bounds_is_refused_by_name() -> None:
    with pytest.raises(LabError, match=r"nodes: .*150"):
        Lab.up(nodes=151)


def test_changes_on_a_real_disk_survive_a_crash_and_go_with_the_lab(tmp_path: Path) -> None:
    with Lab.up(nodes=1, disk=tmp_path) as lab:
        node = lab.node("node1")
        node.run(["dd", "if=/dev/zero", "of=/var/data", "bs=4k", "count=1", "conv=fsync"])
        node.crash()
        node.boot()
        assert node.run(["stat", "-c", "%s", "/var/data"]).stdout == "4096\n"
        assert (tmp_path / lab.name / "node1/upper/var/data").stat().st_size == 4096
        with pytest.raises(LabError, match="--disk"):
            node.fill_disk()
    assert list(tmp_path.iterdir()) == []


def test_a_bound_directory_of_the_host_is_seen_and_written_only_if_allowed(tmp_path: Path) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
    binds = [
        Bind(source=tmp_path / "open", target=Path("/mnt/open"), writable=True),
        Bind(source=tmp_path / "closed", target=Path("/mnt/closed")),
    ]
    with Lab.up(nodes=1, binds=binds) as lab:
        lab.node("node1").run(["touch", "/mnt/open/file"])
        assert lab.node("node1").run(["touch", "/mnt/closed/file"], check=False).returncode == 1
    assert (tmp_path / "open/file").exists()


def test_packages_that_live_below_tmp_are_seen_in_a_node(tmp_path: Path) -> None:
    (tmp_path / "below_tmp.py").write_text("print('found')")
    code = (
        "import sys; from safekit_lab import Lab\n"
        "with Lab.up(nodes=1) as lab: print(lab.node('node1').run(sys.argv[1:]).stdout)"
    )
    command = [sys.executable, "-c", code, sys.executable, "-c", "import below_tmp"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "found\n\n"


def test_without_ipv6_there_is_none() -> None:
    with Lab.up(nodes=1, ipv6=False, mtu=1400) as lab:
        said = lab.node("node1").run(["ip", "address", "show", "eth0"]).stdout
        assert "inet6" not in said and "mtu 1400" in said
        with pytest.raises(LabError, match="without IPv6"):
            lab.node("node1").address(family=6)
