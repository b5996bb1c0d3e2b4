# One image for every service of docker-compose.yml that is ours, and for work pools of type docker and kubernetes.
# It was not built where it was written.
FROM python:3.11-slim
RUN useradd --create-home w2s && install --directory --owner=w2s /home/w2s/.w2s
WORKDIR /opt/w2s
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt ".[s3,cluster]"
USER w2s
WORKDIR /home/w2s
# Containers that share the home share the devices of the machine: a slot is a lock on a file.
ENV W2S_HOME=/home/w2s/.w2s W2S_SLOTS=/home/w2s/.w2s/slots
CMD ["w2s", "--help"]
