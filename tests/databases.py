"""Real servers for the tests of SQL sources: started on loopback in a folder of their own, stopped by process id."""

import contextlib
import csv
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

PASSWORD = "p@ss/w:rd " + secrets.token_hex(8)  # the letters that URLs must escape
READER = "reader"
_DEBIAN = "/usr/lib/postgresql/*/bin"
_PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Server:
    """A running server, and the URLs of databases on it."""

    dialect: str
    port: int

    def url(self, database: str, password: str | None = PASSWORD, **query: str) -> str:
        """Return the URL of a database with the password in it, as a careless person would write it."""
        made = sa.URL.create(self.dialect, READER, password, "127.0.0.1", self.port, database, query)
        return made.render_as_string(hide_password=False)

    def shown(self, database: str) -> str:
        """Return how trackkit names a database."""
        return f"{self.dialect}://127.0.0.1:{self.port}/{database}"

    def engine(self, database: str) -> sa.Engine:
        """Return an engine on a database that is made if it is missing."""
        driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}[self.dialect]
        first = {"postgresql": "postgres", "mysql": "mysql"}[self.dialect]
        base = sa.make_url(self.url(first)).set(drivername=driver)
        serving = sa.create_engine(base, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with contextlib.suppress(sa.exc.ProgrammingError), serving.connect() as connection:  # unless it is there
            letters = " CHARACTER SET utf8mb4" if self.dialect == "mysql" else ""
            connection.execute(sa.schema.DDL(f"CREATE DATABASE {database}{letters}"))
        return sa.create_engine(base.set(database=database), poolclass=sa.NullPool)


def postgres() -> Iterator[Server]:
    """Run PostgreSQL for as long as the generator is held."""
    tools = [*sorted(Path("/").glob(_DEBIAN.lstrip("/")), reverse=True), _folder_of("initdb")]
    tools = [folder for folder in tools if folder and (folder / "initdb").exists() and (folder / "postgres").exists()]
    if not tools:
        _cannot("PostgreSQL's server is not installed; `apt install postgresql` brings it.")
    with _place("postgres") as (folder, who):
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        _own(secret, who)
        data, port = folder / "data", _free_port()
        made = [f"{tools[0]}/initdb", "-D", data, "-U", READER, "--auth=scram-sha-256", f"--pwfile={secret}", "-E",
                "UTF8", "--locale=C", "--no-sync"]  # fmt: skip
        _run(made, who)
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with _running([f"{tools[0]}/postgres", "-D", data, *flags], who, folder / "log"):
            server = Server("postgresql", port)
            _wait(server.engine, "postgres", folder / "log")
            yield server


def mariadb() -> Iterator[Server]:
    """Run MariaDB for as long as the generator is held."""
    program = shutil.which("mariadbd", path=_PATH)
    share = next((folder for folder in _SHARES if list(folder.glob("*_system_tables.sql"))), None)
    if not (program and share):
        _cannot("MariaDB's server is not installed; `apt install mariadb-server-core` brings it.")
    with _place("mysql") as (folder, who):
        data, port, first = folder / "data", _free_port(), folder / "first.sql"
        data.mkdir()
        _own(data, who)
        # As mariadb-install-db does, which needs programs of the whole package.
        parts = [
            next(share.glob(f"*_{part}.sql")) for part in ("system_tables", "performance_tables", "system_tables_data")
        ]
        system = "".join(part.read_text("utf-8") for part in parts)
        bootstrap = f"create database mysql;\nuse mysql;\nset @auth_root_socket=null;\n{system}"
        _run([program, "--no-defaults", "--bootstrap", f"--datadir={data}"], who, bootstrap)
        words = f"CREATE USER '{READER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
        first.write_text(f"{words}GRANT ALL ON *.* TO '{READER}'@'127.0.0.1';\n")
        _own(first, who)
        flags = [f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket",
                 f"--pid-file={folder}/pid", f"--init-file={first}", "--skip-name-resolve"]  # fmt: skip
        with _running([program, "--no-defaults", *flags], who, folder / "log"):
            server = Server("mysql", port)
            _wait(server.engine, "mysql", folder / "log")
            yield server


_SHARES = (Path("/usr/share/mysql"), Path("/usr/share/mariadb"))
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def _folder_of(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found).resolve().parent if found else None


def _cannot(why: str) -> None:
    if os.environ.get("TRACKKIT_REQUIRE_DATABASES") == "1":
        pytest.fail(why)
    pytest.skip(why)


@contextlib.contextmanager
def _place(preferred: str) -> Iterator[tuple[Path, str | None]]:
    """A folder outside pytest's own, which only its owner may enter, and who runs the server: never root."""
    names = (preferred, "postgres", "mysql", "nobody")
    known = {user.pw_name for user in pwd.getpwall()}
    who = next(name for name in names if name in known) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="trackkit-test-"))
    try:
        _own(folder, who)
        yield folder, who
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own(path: Path, who: str | None) -> None:
    if who:
        shutil.chown(path, who)


def _as(who: str | None) -> dict[str, object]:
    return {"user": who, "group": pwd.getpwnam(who).pw_gid, "extra_groups": []} if who else {}


def _run(command: list[object], who: str | None, given: str = "") -> None:
    words = [str(part) for part in command]
    said = subprocess.run(words, input=given, capture_output=True, text=True, cwd="/", check=False, **_as(who))
    if said.returncode:
        pytest.fail(f"{command[0]}: {said.stdout}{said.stderr}")


@contextlib.contextmanager
def _running(command: list[object], who: str | None, log: Path) -> Iterator[None]:
    with log.open("wb") as written:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            cwd="/",
            **_as(who),
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT if "postgres" in str(command[0]) else signal.SIGTERM)  # its fast shutdown
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait(engine: object, database: str, log: Path) -> None:
    last = time.monotonic() + _PATIENCE
    while True:
        try:
            engine(database).connect().close()
            return
        except sa.exc.OperationalError as error:
            if time.monotonic() > last:
                pytest.fail(f"The server does not answer: {error}\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.3)


TYPES = {"i": sa.BigInteger, "t": sa.DateTime, "d": sa.Float, "s": sa.String(500)}
# The platform's own names of the tables that tests/instance.py writes as files.
NAMES = {
    "delivery": "nmsdelivery", "tracking_url": "nmstrackingurl", "broadlog": "nmsbroadlogrcp",
    "broadlog_msg": "nmsbroadlogmsg", "recipient": "nmsrecipient", "user_agent": "nmsuseragent",
    "tracking_log": "nmstrackinglogrcp", "web_tracking_log": "nmswebtrackinglog",
    "campaign": "nmsoperation", "programme": "nmsprogram", "folder": "xtkfolder",
}  # fmt: skip


def fill(engine: sa.Engine, folder: Path) -> None:
    """Put the table files of an instance folder into a database, under the platform's own names and types."""
    for file, name in NAMES.items():
        with (folder / f"{file}.csv").open(encoding="utf-8", newline="") as text:
            headers, *rows = csv.reader(text)
        columns = [(header.lower(), TYPES[header[0]]) for header in headers]
        parts = [sa.Column(*one, primary_key=one[0] == headers[0].lower(), autoincrement=False) for one in columns]
        table = sa.Table(name, sa.MetaData(), *parts)
        records = [{h.lower(): _typed(h, cell) for h, cell in zip(headers, row, strict=True)} for row in rows]
        with engine.begin() as connection:
            table.create(connection)
            connection.execute(sa.insert(table), records)


def _typed(header: str, cell: str) -> object:
    if cell == "" and header[0] != "s":
        return None
    kinds = {"i": int, "d": float, "t": datetime.fromisoformat}
    return kinds.get(header[0], str)(cell)
