"""Pages processed by workers on other machines, over Celery and RabbitMQ."""
