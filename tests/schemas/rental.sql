-- A shop that lends films: the shape of a well-known sample, with an enumeration, a domain, arrays, a generated search
-- column, partitions, a view and join tables. Rows are made up.
CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
CREATE DOMAIN year AS integer CHECK (value BETWEEN 1901 AND 2155);

CREATE TABLE language (
    language_id serial PRIMARY KEY, name char(20) NOT NULL, last_update timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE category (
    category_id serial PRIMARY KEY, name varchar(25) NOT NULL, last_update timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE actor (
    actor_id serial PRIMARY KEY, first_name varchar(45) NOT NULL, last_name varchar(45) NOT NULL,
    last_update timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE film (
    film_id serial PRIMARY KEY, title varchar(255) NOT NULL, description text, release_year year,
    language_id int NOT NULL REFERENCES language, original_language_id int REFERENCES language,
    rental_duration smallint NOT NULL DEFAULT 3, rental_rate numeric(4, 2) NOT NULL DEFAULT 4.99, length smallint,
    replacement_cost numeric(5, 2) NOT NULL DEFAULT 19.99, rating mpaa_rating DEFAULT 'G',
    last_update timestamptz NOT NULL DEFAULT now(), special_features text[],
    fulltext tsvector GENERATED ALWAYS AS (to_tsvector('english', title || ' ' || coalesce(description, ''))) STORED
);
CREATE TABLE film_actor (
    actor_id int NOT NULL REFERENCES actor, film_id int NOT NULL REFERENCES film,
    last_update timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (actor_id, film_id)
);
CREATE TABLE film_category (
    film_id int NOT NULL REFERENCES film, category_id int NOT NULL REFERENCES category,
    last_update timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (film_id, category_id)
);
CREATE TABLE customer (
    customer_id serial PRIMARY KEY, first_name varchar(45) NOT NULL, last_name varchar(45) NOT NULL,
    email varchar(50), activebool boolean NOT NULL DEFAULT true, create_date date NOT NULL DEFAULT current_date
);
CREATE TABLE payment (
    payment_id int NOT NULL, customer_id int NOT NULL REFERENCES customer, amount numeric(5, 2) NOT NULL,
    payment_date timestamptz NOT NULL, PRIMARY KEY (payment_date, payment_id)
) PARTITION BY RANGE (payment_date);
CREATE TABLE payment_2026_01 PARTITION OF payment FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE payment_2026_02 PARTITION OF payment FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE VIEW film_list AS SELECT film_id, title, description FROM film;

INSERT INTO language (name) SELECT unnest(ARRAY['English', 'Italian', 'Japanese', 'German']);
INSERT INTO category (name) SELECT unnest(ARRAY['Action', 'Animation', 'Children', 'Classics', 'Comedy']);
INSERT INTO actor (first_name, last_name)
SELECT 'FIRST' || n, 'LAST' || n FROM generate_series(1, 40) AS n;
INSERT INTO film (title, description, release_year, language_id, length, rating, special_features)
SELECT 'FILM NUMBER ' || n,
       CASE WHEN n % 10 <> 0 THEN 'A thoughtful tale of a tailor and a robot number ' || n
            || ' who must find a lighthouse before the tide in the northern harbour turns' END,
       2000 + n % 25, 1 + n % 4, 60 + n % 120, (ARRAY['G', 'PG', 'PG-13', 'R', 'NC-17'])[1 + n % 5]::mpaa_rating,
       CASE WHEN n % 3 = 0 THEN ARRAY['Trailers', 'Deleted Scenes'] END
  FROM generate_series(1, 120) AS n;
INSERT INTO film_actor (actor_id, film_id)
SELECT 1 + (n + k) % 40, n FROM generate_series(1, 120) AS n, generate_series(0, 2) AS k;
INSERT INTO film_category (film_id, category_id) SELECT n, 1 + n % 5 FROM generate_series(1, 120) AS n;
INSERT INTO customer (first_name, last_name, email)
SELECT 'First' || n, 'Last' || n, 'person' || n || '@example.org' FROM generate_series(1, 60) AS n;
INSERT INTO payment
SELECT n, 1 + n % 60, n % 100 / 10.0, timestamptz '2026-01-01' + n * interval '6 hours' FROM generate_series(1, 200) AS n;
