// Produces and consumes in a group of two members with kafkajs.
// Usage: node group.js BOOTSTRAP. Exits non-zero where the broker broke a promise.
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const topic = 'node'
const perCodec = 200
const codecs = [CompressionTypes.None, CompressionTypes.GZIP]
const expected = perCodec * codecs.length

const kafka = new Kafka({ clientId: 'ottla-clients', brokers: [process.argv[2]], logLevel: logLevel.ERROR })

async function produce () {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (const compression of codecs) {
    const messages = Array.from({ length: perCodec }, (_, i) => ({
      key: `${compression}-${i}`, value: `value ${i}`, headers: { compression: String(compression) }
    }))
    await producer.send({ topic, compression, messages })
  }
  await producer.disconnect()
}

async function committed (admin) {
  const offsets = await admin.fetchOffsets({ groupId: 'node-group', topics: [topic] })
  return offsets[0].partitions.reduce((sum, p) => sum + Math.max(0, Number(p.offset)), 0)
}

async function consume (admin) {
  const seen = new Set()
  const assigned = []
  const consumers = []
  let finish
  const finished = new Promise(resolve => { finish = resolve })
  for (let i = 0; i < 2; i++) {
    const consumer = kafka.consumer({ groupId: 'node-group', sessionTimeout: 10000, rebalanceTimeout: 10000 })
    consumers.push(consumer)
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    consumer.on(consumer.events.GROUP_JOIN, e => {
      assigned[i] = (e.payload.memberAssignment[topic] || []).length
      if (done()) finish()
    })
    await consumer.run({
      eachMessage: async ({ message }) => {
        seen.add(message.key.toString())
        if (done()) finish()
      }
    })
  }
  function done () {
    return seen.size === expected && assigned[0] > 0 && assigned[1] > 0
  }
  const timer = setTimeout(() => { throw new Error(`timed out: ${seen.size} records, assigned ${assigned}`) }, 90000)
  await finished
  while (await committed(admin) !== expected) { // what a rebalance came before is read and committed again
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  clearTimeout(timer)
  for (const consumer of consumers) await consumer.disconnect()
  return seen.size
}

async function main () {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 4, replicationFactor: 1 }] })
  await produce()
  const n = await consume(admin)
  if (await committed(admin) !== expected) throw new Error(`committed ${await committed(admin)} of ${expected}`)
  await admin.disconnect()
  console.log(`${n} records consumed by 2 members, all offsets committed`)
}

main().catch(err => { console.error(err); process.exit(1) })
