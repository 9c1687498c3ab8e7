-- apply: cold
-- Events are found by what they are about. Rewrites every row, and is slow.
ALTER TABLE event ADD COLUMN topic text;
UPDATE event SET topic = split_part(what, ' ', 1);
ALTER TABLE event ALTER COLUMN topic SET NOT NULL;
-- the demo's table is small; a real one would take this long by itself
SELECT pg_sleep(1.8);
