-- The tables the application began with. In both databases before fast downtimes came: `baseline` records it.
CREATE TABLE account (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
                      balance bigint NOT NULL DEFAULT 0);
CREATE TABLE upload (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text NOT NULL,
                     seen_at timestamptz NOT NULL DEFAULT clock_timestamp());
