package kafkatools

func storageTool() tool { return tool{name: "kafka-storage"} }
