-- apply: cold
-- Nobody may owe us anything. Staging's data keeps to that; production's does not.
ALTER TABLE account ADD CONSTRAINT account_balance CHECK (balance >= 0);
