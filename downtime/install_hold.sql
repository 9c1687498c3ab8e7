
-- Gate "hold": every new session reads this catalog while it starts, so it waits for whoever holds this lock; the lock
-- ends with the caller's transaction, whatever becomes of the caller. Needs an owner who is a superuser.
CREATE OR REPLACE FUNCTION fastdowntime.prevent_connections() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $fastdowntime$
BEGIN
    LOCK TABLE pg_catalog.pg_db_role_setting IN ACCESS EXCLUSIVE MODE;
END
$fastdowntime$;
REVOKE ALL ON FUNCTION fastdowntime.prevent_connections() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fastdowntime.prevent_connections() TO {role};
