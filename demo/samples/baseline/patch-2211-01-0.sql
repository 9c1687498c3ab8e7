-- What happened, one row each: the table that grows.
CREATE TABLE event (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account bigint NOT NULL,
                    happened_at timestamptz NOT NULL, what text NOT NULL);
