-- apply: cold
-- An account gets an address for notices.
ALTER TABLE account ADD COLUMN email text NOT NULL DEFAULT '';
COMMENT ON COLUMN account.email IS 'where notices go; empty: nowhere';
