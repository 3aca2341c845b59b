-- What pg_dump printed of a stack of release 0.1.0, with three tasks and a deletion.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.cache_epoch (
    id integer NOT NULL,
    epoch bigint NOT NULL,
    cluster_epoch bigint NOT NULL
);
ALTER TABLE public.cache_epoch OWNER TO todo;
CREATE SEQUENCE public.cache_epoch_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER TABLE public.cache_epoch_id_seq OWNER TO todo;
ALTER SEQUENCE public.cache_epoch_id_seq OWNED BY public.cache_epoch.id;
CREATE TABLE public.deletions (
    task_id uuid NOT NULL,
    request_id text NOT NULL,
    version integer NOT NULL,
    deleted_at timestamp with time zone NOT NULL
);
ALTER TABLE public.deletions OWNER TO todo;
CREATE TABLE public.tasks (
    id uuid NOT NULL,
    task text NOT NULL,
    done boolean NOT NULL,
    version integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
ALTER TABLE public.tasks OWNER TO todo;
ALTER TABLE ONLY public.cache_epoch ALTER COLUMN id SET DEFAULT nextval('public.cache_epoch_id_seq'::regclass);
INSERT INTO public.cache_epoch VALUES (1, 3, 6);
INSERT INTO public.deletions VALUES ('01a21c18-aa38-736e-bbef-bdf85f307a5c', 'f992d54c14507d3a9c617a199a3c04d6', 1, '2026-11-27 08:21:49.410483+00');
INSERT INTO public.tasks VALUES ('01a21c18-a980-74bd-a5ce-fbb8797b1900', 'Water the plants', false, 1, '2026-11-27 08:21:48.032426+00', '2026-11-27 08:21:48.032426+00');
INSERT INTO public.tasks VALUES ('01a21c18-a9d9-7173-ba45-53b33b2ea146', 'Zoë''s über-task: 日本', false, 1, '2026-11-27 08:21:48.121185+00', '2026-11-27 08:21:48.121185+00');
INSERT INTO public.tasks VALUES ('01a21c18-aa21-7075-942f-71d5806b7ed5', 'done already', true, 2, '2026-11-27 08:21:48.193792+00', '2026-11-27 08:21:48.954947+00');
SELECT pg_catalog.setval('public.cache_epoch_id_seq', 1, false);
ALTER TABLE ONLY public.cache_epoch
    ADD CONSTRAINT cache_epoch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.deletions
    ADD CONSTRAINT deletions_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);
CREATE INDEX ix_deletions_deleted_at ON public.deletions USING btree (deleted_at);
CREATE INDEX tasks_done_id ON public.tasks USING btree (done, id);
