// A group member on kafkajs that tells what happens to it, one JSON object a line; it commits after every batch and leaves on SIGTERM.
// Usage: node member_kafkajs.js BOOTSTRAP GROUP TOPIC [KEY=VALUE of the consumer]...
const { Kafka, logLevel } = require('../node/node_modules/kafkajs')

const [bootstrap, groupId, topic, ...settings] = process.argv.slice(2)

function tell (event, fields = {}) {
  console.log(JSON.stringify({ ts: Date.now(), event, ...fields }))
}

async function main () {
  const options = Object.fromEntries(settings.map(s => s.split('=')).map(([k, v]) => [k, Number(v)]))
  const kafka = new Kafka({ clientId: 'member', brokers: [bootstrap], logLevel: logLevel.NOTHING })
  const consumer = kafka.consumer({ groupId, metadataMaxAge: 500, maxWaitTimeInMs: 100, ...options })
  let held = []
  consumer.on(consumer.events.GROUP_JOIN, e => {
    if (held.length > 0) tell('revoked', { partitions: held })
    held = Object.entries(e.payload.memberAssignment).flatMap(([topic, partitions]) => partitions.map(partition => ({ topic, partition })))
    tell('assigned', { partitions: held, generation: -1 })
  })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  process.on('SIGTERM', async () => {
    await consumer.disconnect()
    tell('left')
    process.exit(0)
  })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: true,
    eachBatch: async ({ batch, heartbeat }) => {
      if (batch.messages.length === 0) return
      const { topic, partition } = batch
      const to = Number(batch.messages[batch.messages.length - 1].offset) + 1
      tell('consumed', { topic, partition, from: Number(batch.messages[0].offset), to })
      try {
        await consumer.commitOffsets([{ topic, partition, offset: String(to) }])
      } catch (e) {
        tell('refused', { error: e.type || e.name })
        return heartbeat() // finds out that the member has to join again
      }
      tell('committed', { topic, partition, to })
    }
  })
}

main().catch(err => { console.error(err); process.exit(1) })
