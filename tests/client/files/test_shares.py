"""Network shares are distinguished from local disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from mhfd_client.files.shares import share_below, share_of

MOUNTS = r"""
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:45 / /data rw,relatime - autofs systemd-1 rw
31 30 0:46 / /data rw,relatime - nfs4 server:/data rw
32 31 0:47 / /data/local rw,relatime - xfs /dev/vdb rw
33 22 0:48 / /mnt/micro\040scope rw - cifs //scope/d rw
34 22 0:49 / /home/u/far rw - fuse.sshfs user@host: rw
35 22 0:50 / /mnt/c rw - 9p drvfs rw
36 22 0:51 / /mnt/guest rw - virtiofs guest rw
37 22 0:52 / /media/sf_em rw - vboxsf em rw
38 22 0:53 / /mnt/bucket rw - fuse.rclone remote: rw
39 22 0:54 / /mnt/stick rw - fuseblk /dev/sdb1 rw
""".strip()


@pytest.mark.skipif("sys.platform == 'win32'", reason="paths of Linux")
@pytest.mark.parametrize(
    ("path", "share"),
    [
        ("/home/u/ledger.db", None),
        ("/data/ledger.db", "nfs4"),
        ("/data/local/ledger.db", None),
        ("/data2/ledger.db", None),
        ("/mnt/micro scope/ledger.db", "cifs"),
        ("/home/u/far/ledger.db", "sshfs"),
        ("/mnt/c/em/ledger.db", "9p"),
        ("/mnt/guest/ledger.db", "virtiofs"),
        ("/media/sf_em/ledger.db", "vboxsf"),
        ("/mnt/bucket/ledger.db", "rclone"),
        ("/mnt/stick/ledger.db", None),
    ],
)
def test_share_is_that_of_the_nearest_mount(path: str, share: str | None) -> None:
    assert share_of(Path(path), MOUNTS) == share


def test_a_mount_table_that_cannot_be_read_names_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.files.shares.MOUNTS", tmp_path / "none")
    assert share_below(tmp_path) is None
