-- apply: cold
-- An account says how often it wants notices.
ALTER TABLE account ADD COLUMN notices_per_week smallint NOT NULL DEFAULT 1;
