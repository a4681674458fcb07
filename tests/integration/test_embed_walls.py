from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ATTEMPTS = {
    "connect": "import socket; socket.create_connection(('127.0.0.1', {port}), timeout=2)",
    "look up": "import socket; socket.getaddrinfo('localhost', 80)",
    "datagram": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
    "program": "import subprocess; subprocess.run(['touch', '{outside}'])",
    "shell": "import os; os.system('touch {outside}')",
    "fork": "import os; os.fork()",
    "write": "open('{outside}', 'w')",
    "append by flags": "import os; os.open('{outside}', os.O_WRONLY | os.O_CREAT)",
    "folder": "import os; os.mkdir('{outside}')",
    "move out": "import os; open('inside', 'w').close(); os.rename('inside', '{outside}')",
    "link out": "import os; os.symlink('inside', '{outside}')",
    "write through a link": "import os; os.symlink('{outside}', 'inside'); open('inside', 'w')",
}


def behind_walls(scratch: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new Python in `scratch`."""
    scratch.mkdir(exist_ok=True)
    arguments = [sys.executable, "-P", "-c", f"from byov_migrate.embed import walls\n{code}"]
    return subprocess.run(arguments, cwd=scratch, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_is_no_part_of_a_conversion_is_refused(tmp_path: Path, name: str) -> None:
    """Should a pickle run code after all, that code reaches no network, no program and no file."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempt = ATTEMPTS[name].format(port=listener.getsockname()[1], outside=tmp_path / "outside")
        wall = "from pathlib import Path\nwalls.forbid(Path.cwd())\n"
        done = behind_walls(tmp_path / "scratch", wall + attempt)
    assert "PermissionError" in done.stderr
    assert done.returncode == 1
    assert not (tmp_path / "outside").exists()


def test_the_scratch_folder_may_be_changed(tmp_path: Path) -> None:
    """The libraries keep temporary files there, and the result is written there."""
    code = (
        "import os, tempfile\nfrom pathlib import Path\nwalls.forbid(Path.cwd())\n"
        "with tempfile.TemporaryDirectory(dir='.') as place:\n    Path(place, 'a').symlink_to('/etc/hostname')\n"
        "Path('b').write_text('x'); os.rename('b', 'c'); os.remove('c'); open(os.devnull, 'w').close()\n"
    )
    done = behind_walls(tmp_path / "scratch", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_namespace_has_no_way_to_this_machines_own_servers(tmp_path: Path) -> None:
    """Also for what libraries do in C: not even the loopback is there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = (
            "import json, socket\nleft = walls.leave_network()\nreached = True\n"
            f"try:\n    socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), timeout=2)\n"
            "except OSError:\n    reached = False\nprint(json.dumps([left, reached]))"
        )
        done = behind_walls(tmp_path / "scratch", code)
    left, reached = json.loads(done.stdout)
    if not left:
        pytest.skip("this system allows no network namespace")
    assert not reached


def test_memory_and_file_size_end_at_their_limit(tmp_path: Path) -> None:
    """A small file can ask for endless memory; it must not take the machine down."""
    limits = "walls.limit_resources(memory_bytes=2**28, file_bytes=1000, cpu_s=60)\n"
    assert "MemoryError" in behind_walls(tmp_path / "scratch", limits + "bytearray(2**30)").stderr
    done = behind_walls(tmp_path / "scratch", limits + "open('large', 'wb', 0).write(bytes(5000))")
    assert (tmp_path / "scratch" / "large").stat().st_size <= 1000, done.stderr
    assert os.listdir(tmp_path / "scratch") == ["large"]  # noqa: PTH208 - names are enough
