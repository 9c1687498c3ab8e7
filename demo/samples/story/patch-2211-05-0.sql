-- apply: cold
-- An upload belongs to an account.
ALTER TABLE upload ADD COLUMN account bigint REFERENCES account (id);
