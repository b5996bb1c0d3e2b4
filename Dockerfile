# One image for every service of docker-compose.yml that is ours, and for work pools of type docker and kubernetes.
# It was not built where it was written.
FROM python:3.11-slim
RUN useradd --create-home w2s && install --directory --owner=w2s /home/w2s/.w2s
WORKDIR /opt/w2s
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt ".[s3,cluster]"
USER w2s
WORKDIR /home/w2s
ENV W2S_HOME=/home/w2s/.w2s
CMD ["w2s", "--help"]
