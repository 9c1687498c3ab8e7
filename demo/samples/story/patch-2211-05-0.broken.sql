-- apply: cold
-- An upload belongs to an account.
ALTER TABLE upload ADD COLUMN account bigint;
ALTER TABLE uploads
    ADD CONSTRAINT upload_account FOREIGN KEY (account) REFERENCES account (id);
