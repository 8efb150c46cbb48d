"""Settings of another installation come from its file alone."""

from pathlib import Path

import pytest

from infra.settings import Settings
from infra.settings_file import SettingsFileFault, read_settings


def written(folder: Path, *lines: str) -> Path:
    path = folder / "other.env"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_only_what_stands_in_the_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEID_S3_REGION", "of the environment")
    monkeypatch.setenv("FACEID_DATA_DIR", "/of/the/environment")
    monkeypatch.setenv("FACEID_SECRETS_DIR", str(tmp_path / "of the environment"))
    path = written(
        tmp_path,
        "# the other side",
        "FACEID_DATA_DIR=/elsewhere",
        "export FACEID_PUBLIC_HOSTS='a.example.com, b.example.com'",
        "",
        "PATH=/bin",
        'FACEID_S3_BUCKET="a = b"',
        "FACEID_S3_ENDPOINT=https://s3.example.com  ",
        "FACEID_WAIT_S=3",
    )
    settings = read_settings(path)
    assert settings.data_dir == Path("/elsewhere")
    assert settings.public_hosts == ("a.example.com", "b.example.com")
    assert (settings.s3_bucket, settings.s3_endpoint) == ("a = b", "https://s3.example.com")
    assert settings.wait_s == 3
    assert settings.s3_region == Settings.model_fields["s3_region"].default
    assert settings.secrets_dir == Settings.model_fields["secrets_dir"].default


def test_secrets_lie_where_the_file_says(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "FACEID_S3_SECRET_KEY").write_text("${a} secret", encoding="utf-8")
    path = written(tmp_path, f"FACEID_SECRETS_DIR={folder}", "FACEID_S3_ACCESS_KEY=${USER}")
    settings = read_settings(path)
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == "${a} secret"
    assert settings.s3_access_key == "${USER}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("FACEID_DATA_DIRR=/x", "there is no setting FACEID_DATA_DIRR"),
        ("FACEID_WAIT_S=soon-1234", "FACEID_WAIT_S: "),
        ("FACEID_OBJECTS=s3", "other.env: FACEID_OBJECTS=s3 needs FACEID_S3_BUCKET"),
        ("no assignment", "line 1: should be NAME=VALUE"),
        ("FACEID_SECRETS_DIR=/nowhere", "FACEID_SECRETS_DIR: should be a folder"),
    ],
)
def test_what_is_no_setting_is_refused_without_its_value(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(SettingsFileFault) as raised:
        read_settings(written(tmp_path, line))
    assert said in str(raised.value)
    assert str(tmp_path / "other.env") in str(raised.value)
    assert "1234" not in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsFileFault, match="there is no file"):
        read_settings(tmp_path / "nothing.env")
    with pytest.raises(SettingsFileFault, match="can't be read"):
        read_settings(tmp_path)
    (tmp_path / "bytes.env").write_bytes(b"FACEID_DATA_DIR=\xff")
    with pytest.raises(SettingsFileFault, match="can't be read"):
        read_settings(tmp_path / "bytes.env")
