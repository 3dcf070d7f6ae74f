"""A database as a source: its URL without the secrets, a read-only connection, and errors without secrets."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow as pa
import sqlalchemy as sa

from trackkit.errors import DataError, RequestError, TrackkitError, did_you_mean

# The driver taken where the URL names none, and the extra of trackkit that brings it.
_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
_EXTRAS = {"psycopg": "postgres", "pymysql": "mysql"}
_KNOWN = ("postgresql", "mysql", "mariadb", "sqlite")
_WHERE = {
    "postgresql": "a password can stand in ~/.pgpass or PGPASSWORD",
    "mysql": "a password can stand in an option file, as in '?read_default_file=~/.my.cnf'",
}
# These give instants one form, in UTC where the database knows their zone.
ORDERS = {
    "postgresql": ("SET TRANSACTION READ ONLY", "SET LOCAL TIME ZONE 'UTC'", "SET LOCAL DateStyle = 'ISO, YMD'"),
    "mysql": ("SET time_zone = '+00:00'",),
    "mariadb": ("SET time_zone = '+00:00'",),
    "sqlite": ("BEGIN",),
}
_SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)  # names of secret parameters in the query of a URL


@dataclass(frozen=True)
class Database:
    """A database named by a SQLAlchemy URL; `schema` and `prefix` (of table names) in its query are trackkit's.

    >>> Database.of("postgresql://me:secret@db.example/crm?schema=nms").shown
    'postgresql://db.example/crm'
    """

    url: sa.URL
    schema: str | None = None
    prefix: str | None = None

    @classmethod
    def of(cls, source: str) -> "Database":
        """Read a URL. Errors: RequestError, which never repeats it."""
        try:
            url = sa.make_url(source)
        except (sa.exc.ArgumentError, ValueError):
            raise RequestError(
                "A source with '://' is the URL of a database, as in 'postgresql://user@host/name'; this one is none."
            ) from None
        if _is_ambiguous(source, url):
            raise RequestError(
                "It is not clear where the password in the URL of a database ends; in a user, a password and a query "
                "write '@' as '%40', '/' as '%2F' and '?' as '%3F'."
            )
        own_parameters = {name: url.query.get(name) for name in ("schema", "prefix")}
        if re.search("[?&]prefix=(&|$)", source):  # of several installations, the one without a prefix
            own_parameters["prefix"] = ""
        return cls(
            url.difference_update_query(own_parameters),
            **{name: _last_value(value) for name, value in own_parameters.items()},
        )

    @property
    def dialect(self) -> str:
        """The kind of database, without its driver."""
        return self.url.get_backend_name()

    @property
    def names_driver(self) -> bool:
        """Whether the URL itself says which driver reads."""
        return "+" in self.url.drivername

    @property
    def shown(self) -> str:
        """The database as reports name it: no user, password or query, and of a file only its name."""
        if self.dialect == "sqlite":
            return f"sqlite:///{Path(self.url.database or '').name}"
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.dialect}://{self.url.host or ''}{port}/{self.url.database or ''}"

    @property
    def identity(self) -> str:
        """A key that distinguishes this database from others and holds nothing secret."""
        name = str(Path(self.url.database or "").resolve()) if self.dialect == "sqlite" else self.url.database
        parts = (self.dialect, self.url.host, self.url.port, self.url.query.get("host"), name, self.schema)
        return hashlib.blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=16).hexdigest()

    def engine(self) -> sa.Engine:
        """Return an engine whose connections only read. Errors: RequestError when there is no driver or no file."""
        if self.dialect == "sqlite":
            path = Path(self.url.database or "")
            if not path.is_file():
                raise RequestError(f"There is no SQLite file {path.name!r}; give the path of one that exists.")
            read_only = {"mode": "ro", "uri": "true"}
            return sa.create_engine(self.url.set(database=f"file:{quote(str(path))}", query=read_only))
        driver = _DRIVERS.get(self.dialect)
        url = self.url if self.names_driver or not driver else self.url.set(drivername=f"{self.dialect}+{driver}")
        return sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """Hold a connection in one transaction, which sees the database as it was when it began."""
        engine = self.engine()
        if self.dialect != "sqlite":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            for order in ORDERS.get(self.dialect, ()):
                connection.exec_driver_sql(order)
            yield connection

    def secrets(self) -> set[str]:
        """Return the secret parts of the URL, in every way in which they may be written."""
        query = [_last_value(value) for name, value in self.url.query.items() if _SECRET.search(name)]
        secrets = [str(word) for word in (self.url.password, *query) if word]
        return {spelling for word in secrets for spelling in _spellings(word)}


# SQLAlchemy's reading of a URL: the password ends at the first '@', then come host, port, database and query.
_PARTS = re.compile(r"[\w+]+://(?:[^:/]*(?::(?P<password>[^@]*))?@)?(?P<rest>.*)", re.DOTALL)


def _is_ambiguous(source: str, url: sa.URL) -> bool:
    """Whether part of a password may have been read as host, port or database, which messages show."""
    parts = _PARTS.match(source)
    if parts is None or url.get_backend_name() == "sqlite":
        return url.host is not None
    password, rest = parts["password"], parts["rest"]
    is_query = password is not None and re.search(r"\?\w+=", password) is not None
    return is_query or "@" in (rest if "@" in source.removesuffix(rest) else rest.partition("?")[0])


def _spellings(word: str) -> set[str]:
    in_libpq = word.replace("\\", "\\\\").replace("'", "\\'")
    return {word, in_libpq, repr(word)[1:-1], quote_plus(word), *(quote(word, safe) for safe in ("/", "", " +"))}


def _last_value(value: str | tuple[str, ...] | None) -> str | None:
    return value[-1] if isinstance(value, tuple) else value


@contextmanager
def clean_errors(database: Database) -> Iterator[None]:
    """Raise what drivers raise as one sentence without secrets."""
    try:
        yield
    except TrackkitError:
        raise
    except sa.exc.NoSuchModuleError:
        suggestion = did_you_mean(database.dialect, _KNOWN)
        raise RequestError(
            f"{database.url.drivername!r} is no kind of database that can be read.{suggestion}"
        ) from None
    except ImportError as error:
        extra = _EXTRAS.get(error.name or "")
        remedy = f"`pip install 'trackkit[{extra}]'`" if extra else "its package installed with pip"
        raise RequestError(f"The driver {error.name!r} of {database.shown} is missing; {remedy} brings it.") from None
    except (sa.exc.SQLAlchemyError, pa.ArrowException, OSError) as error:
        raise DataError(_sentence(database, error)) from None
    except Exception as error:  # a driver's own, which SQLAlchemy did not wrap
        if type(error).__module__.partition(".")[0] not in ("adbc_driver_manager", "psycopg", "pymysql", "sqlite3"):
            raise
        raise DataError(_sentence(database, error)) from None


def _sentence(database: Database, error: Exception) -> str:
    message = str(getattr(error, "orig", None) or error)
    for secret in sorted(database.secrets(), key=len, reverse=True):
        message = message.replace(secret, "***")
    message = " ".join(message.split())[:300].rstrip(".")
    hint = _WHERE.get("mysql" if database.dialect == "mariadb" else database.dialect, "")
    is_closed = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
    remedy = "; check host, name, user and password" + (f" ({hint})" if hint else "") if is_closed else ""
    return f"{database.shown} cannot be read: {message}{remedy}."
