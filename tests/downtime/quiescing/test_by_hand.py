"""The commands of the background tasks, printed for whoever runs them by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from downtime.quiescing.__main__ import main
from tests.downtime.settings.conftest import changed


def test_every_command_is_printed_in_its_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No buildmaster is there, and somebody has to resume what it had stopped."""

    tasks = [{"name": "failover", "lead_minutes": 0, "command": {"stop": "pause it", "resume": "go on with it"}},
             {"name": "import", "users": ["importer"], "systemd": {"unit": "import.service"}}]
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(changed({"environments.production.quiesce.tasks": tasks})))
    assert main(["--settings", str(tmp_path / "settings.yaml")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "# import: 60 min before the downtime", "systemctl stop import.service", "# exit status 0: quiet",
        "case $(systemctl is-active import.service) in inactive|failed) ;; *) exit 1 ;; esac",
        "# quiet without a session of importer", "",
        "# failover: 0 min before the downtime", "pause it", "",
        "# after the downtime", "go on with it", "systemctl start import.service"]


def test_wrong_settings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As everywhere."""

    assert main(["--settings", str(tmp_path / "none.yaml")]) == 2
    assert "there is no such file" in capsys.readouterr().err
