"""What a parsed statement is to a DBA: its name, whether it can run inside a transaction, and what it is about.

Pure; works on the parse nodes that `downtime.statements` hands over. The list of what cannot run in a transaction
follows the callers of `PreventInTransactionBlock` in PostgreSQL and is proved on real servers by
`tests/downtime/test_statement_kinds.py`. What only the catalog can tell is left to the rehearsal: REINDEX and
CLUSTER of a partitioned table, and what DO and CALL do inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

COPY_FROM_CLIENT = "COPY FROM STDIN"
COPY_TO_CLIENT = "COPY TO STDOUT"
SET, SET_LOCAL = "SET", "SET LOCAL"
DISCARD_ALL = "DISCARD ALL"
CREATE_INDEX_CONCURRENTLY, DROP_INDEX_CONCURRENTLY = "CREATE INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY"
DETACH_CONCURRENTLY = "ALTER TABLE DETACH PARTITION CONCURRENTLY"

# Where the parser's name for a statement is not what people say.
WORDS = {
    "alter_database_refresh_coll_stmt": "ALTER DATABASE", "alter_database_set_stmt": "ALTER DATABASE",
    "alter_enum_stmt": "ALTER TYPE", "alter_event_trig_stmt": "ALTER EVENT TRIGGER",
    "alter_extension_contents_stmt": "ALTER EXTENSION", "alter_fdw_stmt": "ALTER FOREIGN DATA WRAPPER",
    "alter_foreign_server_stmt": "ALTER SERVER", "alter_op_family_stmt": "ALTER OPERATOR FAMILY",
    "alter_role_set_stmt": "ALTER ROLE", "alter_seq_stmt": "ALTER SEQUENCE", "alter_stats_stmt": "ALTER STATISTICS",
    "alter_table_move_all_stmt": "ALTER TABLE", "alter_table_space_options_stmt": "ALTER TABLESPACE",
    "alter_tsconfiguration_stmt": "ALTER TEXT SEARCH CONFIGURATION",
    "alter_tsdictionary_stmt": "ALTER TEXT SEARCH DICTIONARY", "check_point_stmt": "CHECKPOINT",
    "close_portal_stmt": "CLOSE", "composite_type_stmt": "CREATE TYPE", "constraints_set_stmt": "SET CONSTRAINTS",
    "create_am_stmt": "CREATE ACCESS METHOD", "create_enum_stmt": "CREATE TYPE",
    "create_event_trig_stmt": "CREATE EVENT TRIGGER", "create_fdw_stmt": "CREATE FOREIGN DATA WRAPPER",
    "create_foreign_server_stmt": "CREATE SERVER", "create_op_class_stmt": "CREATE OPERATOR CLASS",
    "create_op_family_stmt": "CREATE OPERATOR FAMILY", "create_plang_stmt": "CREATE LANGUAGE",
    "create_range_stmt": "CREATE TYPE", "create_seq_stmt": "CREATE SEQUENCE", "create_stats_stmt": "CREATE STATISTICS",
    "create_stmt": "CREATE TABLE", "create_table_space_stmt": "CREATE TABLESPACE",
    "create_trig_stmt": "CREATE TRIGGER", "createdb_stmt": "CREATE DATABASE", "declare_cursor_stmt": "DECLARE",
    "drop_table_space_stmt": "DROP TABLESPACE", "dropdb_stmt": "DROP DATABASE", "index_stmt": "CREATE INDEX",
    "refresh_mat_view_stmt": "REFRESH MATERIALIZED VIEW", "rule_stmt": "CREATE RULE",
    "sec_label_stmt": "SECURITY LABEL", "variable_show_stmt": "SHOW",
    "view_stmt": "CREATE VIEW",
}

# The node's field that tells which kind of object ALTER, CREATE or DROP is about.
OBJECT_FIELDS = {
    "alter_object_depends_stmt": ("ALTER", "object_type"), "alter_object_schema_stmt": ("ALTER", "object_type"),
    "alter_owner_stmt": ("ALTER", "object_type"), "alter_table_stmt": ("ALTER", "objtype"),
    "alter_function_stmt": ("ALTER", "objtype"), "define_stmt": ("CREATE", "kind"),
    "drop_stmt": ("DROP", "remove_type"),
}

OBJECTS = {
    "FDW": "FOREIGN DATA WRAPPER", "FOREIGN SERVER": "SERVER", "MATVIEW": "MATERIALIZED VIEW",
    "OPCLASS": "OPERATOR CLASS", "OPFAMILY": "OPERATOR FAMILY", "STATISTIC EXT": "STATISTICS",
    "TSCONFIGURATION": "TEXT SEARCH CONFIGURATION", "TSDICTIONARY": "TEXT SEARCH DICTIONARY",
    "TSPARSER": "TEXT SEARCH PARSER", "TSTEMPLATE": "TEXT SEARCH TEMPLATE",
}

PARTS = {"ATTRIBUTE", "COLUMN", "DOMCONSTRAINT", "TABCONSTRAINT"}  # renamed inside another object

TRANSACTION_CONTROL = {
    "BEGIN": "BEGIN", "START": "START TRANSACTION", "COMMIT": "COMMIT", "ROLLBACK": "ROLLBACK",
    "SAVEPOINT": "SAVEPOINT", "RELEASE": "RELEASE SAVEPOINT", "ROLLBACK_TO": "ROLLBACK TO SAVEPOINT",
    "PREPARE": "PREPARE TRANSACTION", "COMMIT_PREPARED": "COMMIT PREPARED",
    "ROLLBACK_PREPARED": "ROLLBACK PREPARED",
}

OFF = ("false", "off")

# Kinds that change settings, or run functions that may. What a column's default, a trigger or an index's expression
# calls is not looked for: an ALTER TABLE or INSERT would pay for it with a round trip, and the limit of the outage
# holds whatever the settings are.
SETTERS = {"SET", "DISCARD", "SELECT", "DO", "CALL", "EXECUTE", "EXPLAIN", "FETCH"}  # first words
SETTING_FUNCTION = "set_config"

# What SET TRANSACTION is to the parser, and its other spellings: READ ONLY would keep the ledger row out.
OF_THE_TRANSACTION = {"TRANSACTION", "TRANSACTION SNAPSHOT", "transaction_deferrable", "transaction_isolation",
                      "transaction_read_only"}

ALWAYS_ALONE = {"alter_system_stmt", "create_table_space_stmt", "createdb_stmt", "drop_subscription_stmt",
                "drop_table_space_stmt", "dropdb_stmt"}


def words(name: str, tree: Any) -> str:
    """What a DBA calls the statement whose parse node has that name: `CREATE INDEX CONCURRENTLY`."""
    if not _concurrent(name, tree):
        return _words(name, tree)
    detach = " DETACH PARTITION" if name == "alter_table_stmt" else ""
    return f"{_words(name, tree)}{detach} CONCURRENTLY"


def is_transactional(name: str, tree: Any) -> bool:
    """Whether the statement can run inside a transaction; the server refuses the others there with 25001."""
    match name:
        case "reindex_stmt" if _enum(tree, "kind").endswith(("_SCHEMA", "_DATABASE", "_SYSTEM")):
            return False
        case "vacuum_stmt":
            return not tree.is_vacuumcmd
        case "cluster_stmt":
            return bool(tree.HasField("relation"))
        case "discard_stmt":
            return _enum(tree, "target") != "DISCARD_ALL"
        case "alter_database_stmt":
            return all(option.def_elem.defname != "tablespace" for option in tree.options)
        case "create_subscription_stmt":
            connects = _switched(tree.options, "connect", otherwise=True)
            return not _switched(tree.options, "create_slot", otherwise=connects)
        case "alter_subscription_stmt":
            return not _refreshes(tree)
        case "refresh_mat_view_stmt":
            return True  # CONCURRENTLY, too: it works by rows and not by a second snapshot
    return name not in ALWAYS_ALONE and not _concurrent(name, tree)


def is_transaction_control(name: str, tree: Any) -> bool:
    """Whether the statement begins, ends or divides a transaction, or says of which sort it is."""
    return name == "transaction_stmt" or _sets_transaction(name, tree)


def may_change_settings(kind: str, text: str) -> bool:
    """Whether the session may have other settings after a statement of that kind and text; `SET LOCAL` counts."""
    return kind.partition(" ")[0] in SETTERS or SETTING_FUNCTION in text.lower()


def only_returns_rows(name: str, tree: Any) -> bool:
    """Whether the statement is a query that a cursor can run; not one that is too deep to be seen through."""
    return name == "select_stmt" and _fits_a_cursor(tree)


def _fits_a_cursor(select: Any) -> bool:
    writes = any(each.common_table_expr.ctequery.WhichOneof("node") != "select_stmt"
                 for each in select.with_clause.ctes)
    if writes or select.HasField("into_clause"):
        return False
    if select.HasField("larg"):  # UNION and its like
        return _fits_a_cursor(select.larg) and _fits_a_cursor(select.rarg)
    return bool(select.target_list or select.values_lists)


def locks_out(name: str, tree: Any) -> str:
    """How to get what the statement does where it would lock clients out of a table all the while; else nothing."""
    match name:
        case "vacuum_stmt" if tree.is_vacuumcmd and _switched(tree.options, "full"):
            return "CLUSTER the table by one of its indexes in a cold patch, which rewrites it as well"
        case "cluster_stmt":
            return "write one `CLUSTER table USING index` for each table into a cold patch"
        case "reindex_stmt" if not _concurrent(name, tree):
            if _enum(tree, "kind").endswith("_SYSTEM"):
                return "run it by hand at a quiet time: no patch can hold it"
            return "write CONCURRENTLY, or one REINDEX TABLE or INDEX for each into a cold patch"
    return ""


def relations(name: str, tree: Any) -> list[tuple[str, ...]]:
    """The names, each in its parts, of the relations that a statement which runs by itself is about.

    REINDEX of a schema or a database, VACUUM and CLUSTER of everything name none.
    """
    match name:
        case "index_stmt" | "reindex_stmt" if tree.HasField("relation"):
            return [_parts(tree.relation)]
        case "drop_stmt":
            return [tuple(item.string.sval for item in each.list.items) for each in tree.objects]
        case "vacuum_stmt":
            return [_parts(each.vacuum_relation.relation) for each in tree.rels]
        case "alter_table_stmt":  # DETACH PARTITION … CONCURRENTLY
            return [_parts(tree.relation), *(_parts(_partition(each).name) for each in tree.cmds)]
    return []


def index(name: str, tree: Any) -> str:
    """The name that CREATE INDEX gives; empty for an index that the server is to name, and all other statements."""
    return str(tree.idxname) if name == "index_stmt" else ""


def _parts(relation: Any) -> tuple[str, ...]:
    return tuple(part for part in (relation.catalogname, relation.schemaname, relation.relname) if part)


def _partition(command: Any) -> Any:
    return getattr(command.alter_table_cmd, "def").partition_cmd  # `def` is a keyword of Python


def _sets_transaction(name: str, tree: Any) -> bool:
    return name == "variable_set_stmt" and tree.name in OF_THE_TRANSACTION


def _words(name: str, tree: Any) -> str:
    if _sets_transaction(name, tree):
        return "SET TRANSACTION"
    if name in OBJECT_FIELDS:
        verb, field = OBJECT_FIELDS[name]
        return f"{verb} {_object(tree, field)}"
    match name:
        case "variable_set_stmt":
            return SET_LOCAL if tree.is_local else SET
        case "transaction_stmt":
            return TRANSACTION_CONTROL[_enum(tree, "kind").removeprefix("TRANS_STMT_")]
        case "reindex_stmt":
            return f"REINDEX {_enum(tree, 'kind').removeprefix('REINDEX_OBJECT_')}"
        case "copy_stmt":
            return _copy(tree)
        case "rename_stmt":
            renamed = _object(tree, "rename_type")
            return f"ALTER {_object(tree, 'relation_type') if renamed in PARTS else renamed}"
        case "create_table_as_stmt":
            return "CREATE MATERIALIZED VIEW" if _object(tree, "objtype").endswith("VIEW") else "CREATE TABLE AS"
        case "create_function_stmt":
            return "CREATE PROCEDURE" if tree.is_procedure else "CREATE FUNCTION"
        case "grant_stmt" | "grant_role_stmt":
            return "GRANT" if tree.is_grant else "REVOKE"
        case "vacuum_stmt":
            full = " FULL" if _switched(tree.options, "full") else ""
            return f"VACUUM{full}" if tree.is_vacuumcmd else "ANALYZE"
        case "discard_stmt":
            return _enum(tree, "target").replace("_", " ")
    return WORDS.get(name) or name.removesuffix("_stmt").replace("_", " ").upper()


def _concurrent(name: str, tree: Any) -> bool:
    match name:
        case "index_stmt" | "drop_stmt" | "refresh_mat_view_stmt":
            return bool(tree.concurrent)
        case "reindex_stmt":
            return _switched(tree.params, "concurrently")
        case "alter_table_stmt":  # DETACH PARTITION … CONCURRENTLY
            return any(_partition(each).concurrent for each in tree.cmds)
    return False


def _refreshes(subscription: Any) -> bool:
    """ALTER SUBSCRIPTION that fetches the list of tables from the publisher."""
    kind = _enum(subscription, "kind").removeprefix("ALTER_SUBSCRIPTION_")
    return kind.startswith("REFRESH") or (
        kind.endswith("_PUBLICATION") and _switched(subscription.options, "refresh", otherwise=True))


def _copy(tree: Any) -> str:
    if tree.filename:
        return "COPY FROM" if tree.is_from else "COPY TO"
    return COPY_FROM_CLIENT if tree.is_from else COPY_TO_CLIENT


def _object(tree: Any, field: str) -> str:
    name = _enum(tree, field).removeprefix("OBJECT_").replace("_", " ")
    return OBJECTS.get(name, name)


def _enum(tree: Any, field: str) -> str:
    """The name of an enum's value, which protobuf gives as a number."""
    described = tree.DESCRIPTOR.fields_by_name[field]
    return str(described.enum_type.values_by_number[getattr(tree, field)].name)


def _switched(options: Iterable[Any], name: str, *, otherwise: bool = False) -> bool:
    """A Boolean option as PostgreSQL reads it: bare means on; the last one counts."""
    for option in options:
        if option.def_elem.defname == name:
            otherwise = _is_on(option.def_elem)
    return otherwise


def _is_on(option: Any) -> bool:
    if not option.HasField("arg"):
        return True
    match option.arg.WhichOneof("node"):
        case "integer":
            return bool(option.arg.integer.ival)
        case "boolean":
            return bool(option.arg.boolean.boolval)
        case "type_name":  # `off` is a word like any other to the grammar
            return str(option.arg.type_name.names[-1].string.sval).lower() not in OFF
    return str(option.arg.string.sval).lower() not in OFF
