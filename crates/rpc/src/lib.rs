//! How the roles talk: the traits between frontend, control, worker and services.
